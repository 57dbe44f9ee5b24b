"""`segrt verify`: does a package still say what Keras said, layer by layer?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segrt.cli import _objects, _ops, _options


@click.command(
    short_help="Compare a package with Keras, layer by layer.",
    epilog="""\b
Examples:
  segrt verify unet.segrt --against keras.npz              a recording (see: segrt record)
  segrt verify unet.segrt --against unet.h5 --images DIR   real Keras, where it is installed
  segrt verify unet.segrt                                  the package's graph before rewriting
  segrt verify unet.segrt --against keras.npz --json report.json
""",
)
@click.argument("package", type=_options.MODEL)
@click.option(
    "--against",
    type=_options.MODEL,
    metavar="REFERENCE",
    help="A recording (.npz) or the Keras model file.  [default: the graph before any rewrite]",
)
@_options.architecture
@_objects.keras_code
@click.option(
    "--images",
    type=_options.ANY,
    help="An image or a folder of images to run.  "
    "[default: those of the recording, else one random image]",
)
@click.option(
    "--network",
    is_flag=True,
    help="Judge the TensorRT network, read back from TensorRT's own objects and run on the CPU, "
    "instead of the engine. Needs no GPU.",
)
@_options.threads
@_options.device
@click.option(
    "--json", "json_file", type=_options.OUTPUT_FILE,
    help="Write the report as JSON as well; - writes only that, to stdout.",
)  # fmt: skip
@_ops.ops
def command(
    *,
    package: Path,
    against: Path | None,
    architecture: Path | None,
    custom_objects: dict[str, Any],
    allow_code: bool,
    images: Path | None,
    network: bool,
    threads: int | None,
    json_file: Path | None,
) -> int:
    """Compare every layer of a package with its reference.

    For each layer the table shows its own error (when fed with the reference's input) and its
    error in the whole run, names the first layer over budget, and ends with the agreement of the
    masks. Exit code 1 when it does not hold.
    """
    from segrt import api
    from segrt._outputs import check_report
    from segrt.cli import _console
    from segrt.verification.report_table import render
    from segrt.verification.verifier import VerifyOptions

    if json_file is not None and str(json_file) != "-":
        check_report(json_file, against, architecture, images)
    report = api.verify(
        package,
        against=against,
        images=images,
        threads=threads,
        network=network,
        options=VerifyOptions(
            architecture=architecture, custom_objects=custom_objects, allow_code=allow_code
        ),
    )
    # First to the screen: a file that cannot be written must not cost the result.
    if str(json_file) != "-":
        _console.results().print(render(report))
    if json_file is not None:
        _console.write_json(report.to_dict(), json_file)
    return 0 if report.ok else 1
