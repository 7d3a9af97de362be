"""Builds the page on which the maze's agent runs in a browser: python docs/demo/build_demo.py [FOLDER].

The folder is build/demo by default; `python -m http.server -d build/demo` then serves it. Needs the extra
`onnx`, and onnxruntime-web, which `npm install` beside this file brings. What is built needs no network.
"""

import argparse
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ENV_ID, CONFIG = "PlasticMazePrevAction-v0", "ungated"
PAGE = ("index.html", "demo.js", "agent.js", "maze.js")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
RUNTIME_FOLDER = HERE / "node_modules" / "onnxruntime-web" / "dist"


def build(folder: Path, runtime: Path = RUNTIME_FOLDER) -> None:
    """Write page, agent and runtime into a folder, which is made anew.

    Raises:
        FileNotFoundError: onnxruntime-web is not there.
    """
    missing = [name for name in RUNTIME if not (runtime / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{runtime} has no {', '.join(missing)}: npm install in {HERE} brings it, or name --runtime"
        )
    import plastic_rl

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "ort").mkdir(parents=True)
    for name in PAGE:
        shutil.copy(HERE / name, folder / name)
    for name in RUNTIME:
        shutil.copy(runtime / name, folder / "ort" / name)
    # Its trace is what it remembers by; an agent with gates would hardly miss it.
    agent = plastic_rl.load_pretrained(ENV_ID, config=CONFIG)
    plastic_rl.export_onnx(agent, folder / "agent.onnx")


def main() -> int:
    """Build it; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parents[1] / "build" / "demo")
    parser.add_argument(
        "--runtime", type=Path, default=RUNTIME_FOLDER, help="where onnxruntime-web's files are"
    )
    arguments = parser.parse_args()
    try:
        build(arguments.folder, arguments.runtime)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"python -m http.server -d {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
