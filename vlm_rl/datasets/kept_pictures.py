"""Small copies of pictures in a study's folder `images`, for its report: named by the picture's hash, which also stands in the file."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vlm_rl.datasets.row import ImageSource
from vlm_rl.durable_files import write_whole

KEY = "key"  # of the text in the file
SIGNATURE = b"\x89PNG"


def keep_picture(image: ImageSource, *, folder: Path, max_side: int) -> Path:
    """A PNG whose longer side has at most `max_side` pixels; one that is there and whole is left as it is."""
    path = folder / f"{image.key}.png"
    if path.exists():
        if (why := damage_of_picture(path)) is None:
            return path
        print(f"{why}. It is made again.", flush=True)
    picture, about = image.load(), PngInfo()
    about.add_text(KEY, image.key)
    picture.thumbnail((max_side, max_side))
    write_whole(path, lambda file: picture.save(file, format="PNG", pnginfo=about))
    return path


def damage_of_picture(path: Path) -> str | None:
    """What is wrong with such a file, by the checksums and the name that stand in it; None where nothing is."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            key = picture.info.get(KEY, path.stem)
            picture.verify()
    except (OSError, SyntaxError, ValueError) as error:
        return f"{path} is damaged ({error})"
    return None if key == path.stem else f"{path} holds another picture, {key}"
