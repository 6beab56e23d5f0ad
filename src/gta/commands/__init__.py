"""One module per subcommand of `gta` (the roof): arguments as a dataclass, `main(arguments)`, and the composition."""

# Name -> one line of help. Each name is the module `gta.commands.<name>` with `main(arguments: list[str]) -> None`.
COMMANDS: dict[str, str] = {
    "demo": "synthesise videos, train a 2D model and GTA on them, compare, write a report",
    "train": "train a model from a recipe",
    "evaluate": "measure a checkpoint on a data set",
    "predict": "say what happens in video files",
    "push": "put a model with its page on a Hugging Face hub",
    "watch": "say what happens in a video as it comes in: a camera, a network stream, a pipe",
    "export": "write a checkpoint for ONNX Runtime, OpenVINO or PyTorch's export, and compare both",
    "explain": "show where a model looks in a video, which frames matter and how it mixes them",
    "serve": "try models in a browser and over HTTP",
    "study": "train a grid of models with several seeds under one budget, and report",
    "probe": "measure what a model makes of the order of frames",
    "synthesize": "render the synthetic data set as real video files",
    "ensemble": "average the saved scores of several evaluations",
    "data": "check a data set, show what a protocol does to it, convert it for fast reading",
    "models": "list the models",
    "convert": "turn weights of other code bases into ours",
    "completion": "print the completion script of your shell",
    "paper": "the paper's GFLOPs and parameters beside ours",
}
