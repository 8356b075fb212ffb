"""Features of images that a frozen vision tower has seen already, by content, up to a number of bytes."""

from collections import OrderedDict

from vlm_rl.types import ImageFeatures


class VisionCache:
    """Least recently used first out; 0 bytes: nothing is kept."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._features: OrderedDict[str, ImageFeatures] = OrderedDict()

    def get(self, key: str) -> ImageFeatures | None:
        """The features of a prompt's images, or None if the tower must look at them."""
        if key in self._features:
            self._features.move_to_end(key)
        return self._features.get(key)

    def put(self, key: str, features: ImageFeatures) -> None:
        """Keeps the features, which are on the CPU, while there is room."""
        if key in self._features or features.nbytes > self._max_bytes:
            return
        self._features[key] = features
        self._bytes += features.nbytes
        while self._bytes > self._max_bytes:
            _, evicted = self._features.popitem(last=False)
            self._bytes -= evicted.nbytes
