"""What looks at one pixel at a time, or at all of a volume, reads volumes as it reads images."""

from __future__ import annotations

from segrt.cuda.readers._base import VOLUMES
from segrt.cuda.readers._elements import PLAIN
from segrt.cuda.readers.images.casting import read_cast
from segrt.cuda.readers.images.deciding import read_decision
from segrt.cuda.readers.images.elementwise import BINARY, read_binary, read_clip, read_prelu
from segrt.cuda.readers.images.elementwise import read_step as read_plain
from segrt.cuda.readers.images.group_normalisation import read_group_normalisation
from segrt.cuda.readers.images.joining import read_join
from segrt.cuda.readers.images.normalisation import read_normalisation
from segrt.cuda.readers.images.softmax import read_softmax
from segrt.cuda.readers.images.transposing import read_transpose

VOLUMES.register(*PLAIN)(read_plain)
VOLUMES.register(*BINARY)(read_binary)
VOLUMES.register("Clip")(read_clip)
VOLUMES.register("PRelu")(read_prelu)
VOLUMES.register("Cast")(read_cast)
VOLUMES.register("BatchNormalization")(read_normalisation)
VOLUMES.register("InstanceNormalization", "GroupNormalization")(read_group_normalisation)
VOLUMES.register("Concat")(read_join)
VOLUMES.register("Softmax", "LogSoftmax")(read_softmax)
VOLUMES.register("ArgMax", "ArgMin")(read_decision)
VOLUMES.register("Transpose")(read_transpose)
