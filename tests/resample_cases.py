"""Sizes that the tests of the fused ops share: every way a kernel can take its columns and channels."""

# Shape of the input, size of the output.
RESIZES = [
    ((2, 3, 5, 7), (10, 14)),
    ((1, 2, 7, 5), (28, 5)),
    ((1, 4, 6, 11), (3, 40)),
    ((2, 1, 11, 6), (30, 4)),
    ((1, 1, 1, 1), (3, 5)),
    ((2, 5, 1, 9), (4, 9)),
    ((1, 2, 4, 6), (4, 6)),
    ((1, 3, 33, 20), (9, 7)),
    ((2, 3, 4, 4), (1, 1)),
    ((0, 3, 4, 5), (8, 9)),
    ((1, 150, 4, 8), (16, 32)),  # channels-last: whole vectors of channels, and a rest
    ((1, 64, 4, 3), (8, 6)),
    ((1, 3, 3, 70), (6, 140)),
    ((1, 2, 3, 33), (12, 132)),
    ((1, 2, 3, 21), (27, 190)),
    ((1, 3, 7, 150), (5, 90)),
    ((1, 3, 4, 300), (3, 17)),  # columns whose taps lie far apart
]
