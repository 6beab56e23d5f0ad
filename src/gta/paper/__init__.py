"""What the paper prints (He et al., BMVC 2021), and nothing else: top-1 (`accuracy`), GFLOPs and parameters (`costs`),
and the costs that the papers of the methods it compares with print (`methods`).

Recipes, studies and `gta paper` take the numbers from here. Facts only: nothing here imports another part of gta.
"""
