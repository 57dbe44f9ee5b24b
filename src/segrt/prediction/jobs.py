"""One job an image: where its results go.

Masks are called like their image (``cell.png`` for ``cell.tif``), other pictures get a suffix
(``cell_overlay.png``, ``cell_prob.png``). Pages of a stack are numbered from 1 (``cell_page07``).
If two images want the same name, the later one also takes its suffix (``cell_tif``) and, should
that be taken, a number (``cell_2``). No result replaces another one's or an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segrt.errors import ImageError, UsageError
from segrt.prediction.image_io import count_pages
from segrt.prediction.options import PredictOptions, Product


@dataclass(frozen=True, slots=True)
class Job:
    """One image and the files it becomes.

    Attributes:
        source: The image file.
        page: Which page of it, from 0.
        files: Product -> path to write.
    """

    source: Path
    page: int
    files: dict[Product, Path]


def plan_jobs(images: Sequence[Path], folder: Path, options: PredictOptions) -> list[Job]:
    """Name the results of all images.

    A file whose pages cannot be counted becomes one job; reading it says what is wrong.

    Raises:
        UsageError: A result would replace one of the images.
    """
    inputs = {_key(path) for path in images}
    taken: set[str] = set()
    jobs: list[Job] = []
    for source in images:
        pages = _pages(source)
        for page in range(pages):
            for stem in _stems(source, page, pages):
                files = _files(folder, stem, options)
                keys = {_key(path) for path in files.values()}
                if not keys & taken:
                    break
            if keys & inputs:
                raise UsageError(
                    f"{source}: its result would replace one of the images",
                    found=", ".join(str(path) for path in files.values() if _key(path) in inputs),
                    hint="choose another output folder",
                )
            taken |= keys
            jobs.append(Job(source, page, files))
    return jobs


def _stems(source: Path, page: int, pages: int) -> Iterator[str]:
    number = f"_page{page + 1:0{len(str(pages))}d}" if pages > 1 else ""
    yield source.stem + number
    yield source.name.replace(".", "_") + number
    count = 2
    while True:
        yield f"{source.stem}_{count}{number}"
        count += 1


def _files(folder: Path, stem: str, options: PredictOptions) -> dict[Product, Path]:
    names: dict[Product, str] = {
        "mask": f"{stem}.{options.mask_format}",
        "overlay": f"{stem}_overlay.png",
        "prob": f"{stem}_prob.png",
    }
    return {product: folder / name for product, name in names.items() if product in options.save}


def _key(path: Path) -> str:
    # Upper and lower case count as one: some file systems cannot tell them apart.
    return str(path.resolve()).casefold()


def _pages(source: Path) -> int:
    try:
        return count_pages(source)
    except ImageError:
        return 1
