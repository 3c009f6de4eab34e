"""How good or bad a sentence sounds, as twenty people or more rated it: four domains with one question.

| task       | rows   | what                                                 | negative, neutral, positive |
|------------|--------|------------------------------------------------------|-----------------------------|
| tweets     | 4,080  | 4,000 tweets, rewritten, and 200 made to test syntax | 25, 19, 56 %                |
| amazon     | 3,687  | sentences of 309 product reviews (Hu and Liu 2004)   | 33, 20, 47 %                |
| movies     | 10,601 | sentences of 2,000 film reviews (Pang and Lee 2004)  | 48, 5, 47 %                 |
| editorials | 5,052  | sentences of 500 editorials of the New York Times    | 34, 43, 23 %                |

Hutto and Gilbert 2014 (VADER): mean ratings from -4 to 4. They lie in the source distribution of vaderSentiment 3.2.1
(MIT), as additional_resources/hutto_ICWSM_2014.tar.gz; the wheels of that package lack them. A source distribution is
not fetched for you, as pip would run its setup.py: put vaderSentiment-3.2.1.tar.gz into the mirror, where its hash is
checked and it is read, not unpacked; or the four files, as hutto_ICWSM_2014/<name>_GroundTruth.txt. The counts are
after cleaning, of 4,200, 3,708, 10,605 and 5,190 rows.

There is no official split: a fifth is test, a tenth of the others valid. Sentences of one review or article stand in
several splits (movies are those of quickstart's rotten-tomatoes too), and a few short ones in two domains, of which the
lint warns. Texts are as they are: "&amp;" in tweets, doubled quotes in movies.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence

from continual.assets import mirrors
from continual.errors import ContinualError, CorruptError, DataError, unknown
from continual.stream.base import Example, Task
from continual.stream.clean import clean
from continual.stream.mirror import read
from continual.stream.order import arrange
from continual.stream.sample import sized

FILES = {
    "tweets": "tweets",
    "amazon": "amazonReviewSnippets",
    "movies": "movieReviewSnippets",
    "editorials": "nytEditorialSnippets",
}
"""Task -> the beginning of its file's name."""

SDIST = "vaderSentiment-3.2.1.tar.gz"
SHA256 = "5dce530a78315563f8b3cd01033bbdd3bf4985fabf359ca68d4167728081c803"
LABELS = ("negative", "neutral", "positive")


def tasks(
    head: str = "regress",
    neutral: float = 0.5,
    order: str | int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random splits and subsets that depend on ``seed`` and the task's name alone.

    head     regress: the mean rating, from -4 to 4; classify: negative, neutral or positive, in proportion
    neutral  for classify: means nearer to 0 than this are neutral; a mean that is just so far is not
    order    None: as in the table; a list of domains; an integer: random
    shots    for classify: rows of train of each class; or
    train    rows of train in all; None: all
    valid    rows of valid, taken from train; None: a tenth of train
    test     rows of test; None: all
    mirror   folder with the distribution or its files; None: CONTINUAL_DATA
    Raises ContinualError: an unknown head, name or order, or data that cannot be had.
    """
    if head not in ("regress", "classify"):
        raise unknown("head of stream domains", head, ["classify", "regress"])
    result = []
    for name in arrange(list(FILES), order):
        rated = clean(_ratings(name, mirror))
        rows = [Example(text, mean if head == "regress" else _polarity(mean, neutral)) for mean, text in rated]
        cut = sized({"train": rows}, train, valid, test, seed, name, shots)
        labels = () if head == "regress" else LABELS
        source = "Hutto and Gilbert 2014, in vaderSentiment 3.2.1 (MIT)"
        result.append(Task(name, labels, **cut, head=head, score="", source=source))
    return result


def _polarity(mean: float, neutral: float) -> int:
    """
    >>> [LABELS[_polarity(mean, 0.5)] for mean in (-0.5, -0.4, 0.0, 0.4, 0.5)]
    ['negative', 'neutral', 'neutral', 'neutral', 'positive']
    """
    return 1 if abs(mean) < neutral else 2 * (mean > 0)


def _ratings(name: str, mirror: str | None) -> Iterable[tuple[float, str]]:
    file = f"hutto_ICWSM_2014/{FILES[name]}_GroundTruth.txt"
    for number, line in enumerate(_text(file, mirror).removesuffix("\n").split("\n"), 1):
        try:
            _, mean, text = line.rstrip("\r").split("\t")
            yield float(mean), text
        except ValueError:
            raise DataError(f"{file}, line {number}: expected an id, a number and a text, got {line!r:.80}") from None


def _text(file: str, mirror: str | None) -> str:
    if any((root / SDIST).is_file() for root in mirrors(mirror)):
        return _packed(file, read(SDIST, mirror)).decode("utf-8")
    try:
        return read(file, mirror).decode("utf-8")
    except CorruptError:
        raise
    except ContinualError as error:
        raise ContinualError(
            f"{error}. Or put {SDIST} there, whose sha256 is {SHA256}; it is the source distribution of "
            "vaderSentiment 3.2.1 on the package index"
        ) from None


def _packed(file: str, sdist: bytes) -> bytes:
    """``file`` of the archive that is in the archive."""
    if (got := hashlib.sha256(sdist).hexdigest()) != SHA256:
        raise CorruptError(f"{SDIST}: expected sha256 {SHA256}, got {got}; replace it in the mirror")
    inner = _member(sdist, f"{SDIST.removesuffix('.tar.gz')}/additional_resources/hutto_ICWSM_2014.tar.gz")
    return _member(inner, file)


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = tar.extractfile(name)
        assert found is not None, f"{name} is a file of the pinned archive"
        return found.read()
