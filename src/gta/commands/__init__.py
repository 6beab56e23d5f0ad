"""One module per subcommand of `gta` (the roof): arguments as a dataclass, `main(arguments)`, and the composition."""

# Name -> one line of help. Each name is the module `gta.commands.<name>` with `main(arguments: list[str]) -> None`.
COMMANDS: dict[str, str] = {
    "demo": "render videos, train a 2D model and GTA on them, and compare them in a report",
    "train": "train a model from a recipe",
    "evaluate": "measure a checkpoint on a data set",
    "predict": "classify video files",
    "push": "upload a model and its page to a Hugging Face hub",
    "watch": "classify live video from a camera, a network stream or a pipe",
    "export": "export a checkpoint to ONNX Runtime, OpenVINO or PyTorch's format, and compare both",
    "explain": "show where a model looks in a video, which frames matter and how it mixes them",
    "serve": "try models in a browser and over HTTP",
    "study": "train a grid of models with several seeds on the same budget, and write a report",
    "probe": "measure whether a model uses the order of frames",
    "synthesize": "render the synthetic data set as real video files",
    "ensemble": "average the saved scores of several evaluations",
    "data": "check a data set, show what a protocol does to it, convert it for faster reading",
    "models": "list the models",
    "convert": "convert weights of other libraries",
    "completion": "print the completion script for your shell",
    "paper": "compare the paper's GFLOPs and parameters with ours",
}
