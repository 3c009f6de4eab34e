"""Questions in parallel languages: an article is in one split, the same one in all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from continual.errors import DataError
from continual.stream.base import Stream, Task
from continual.stream.lint import check
from continual.stream.mirror import read
from continual.stream.questions import articles
from continual.task_streams import xquad

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def written(root: Path, count: int = 10, start: int = 0) -> str:
    """Two paragraphs an article with two questions each; the Spanish file has the articles in another order."""
    (root / "xquad").mkdir(exist_ok=True)
    for language in ("en", "es"):
        listed = []
        for a in range(start, start + count):
            paragraphs = []
            for p in range(2):
                qas = [
                    {"question": f"{language} {a}{p}{q}?", "answers": [{"answer_start": 0, "text": f"Town {a}"}]}
                    for q in range(2)
                ]
                paragraphs.append({"context": f"Town {a} {language} {p}.", "qas": qas})
            listed.append({"title": f"Town_{a}", "paragraphs": paragraphs})
        listed = listed[::-1] if language == "es" else listed
        (root / "xquad" / f"xquad.{language}.json").write_text(json.dumps({"data": listed}))
    return str(root)


def towns(task: Task) -> dict[str, set[str]]:
    return {split: {row.text[1].split()[1] for row in rows} for split, rows in task.splits.items()}


@pytest.mark.parametrize("seed", range(4))
def test_an_article_is_in_one_split_and_in_the_same_one_in_both_languages(tmp_path: Path, seed: int) -> None:
    english, spanish = xquad.tasks(seed=seed, mirror=written(tmp_path))
    found = towns(english)
    assert {split: len(own) for split, own in found.items()} == {"train": 7, "valid": 1, "test": 2}
    assert len(set.union(*found.values())) == 10
    assert towns(spanish) == found
    assert [len(rows) for rows in english.splits.values()] == [28, 4, 8]


def test_the_split_is_another_with_another_seed_and_shares_can_be_chosen(tmp_path: Path) -> None:
    mirror = written(tmp_path)
    assert len({frozenset(towns(xquad.tasks(seed=seed, mirror=mirror)[0])["test"]) for seed in range(5)}) > 1
    [task] = xquad.tasks(["xquad-es"], held_out=0.3, tested=0.4, train=5, valid=4, test=3, mirror=mirror)
    assert (task.name, [len(rows) for rows in task.splits.values()]) == ("xquad-es", [5, 4, 3])
    with pytest.raises(DataError, match="of 2 articles make 0 for valid and 0 for test"):
        xquad.tasks(mirror=written(tmp_path, 2))


def test_xquad_has_its_published_sizes_and_is_clean() -> None:
    if not (DATA / "xquad").is_dir():
        pytest.skip(f"{DATA / 'xquad'} is not there")
    mirror = str(DATA)
    for language in ("en", "es"):
        file = f"xquad/xquad.{language}.json"
        found = list(articles(read(file, mirror).decode("utf-8"), file))
        assert (len(found), sum(len(article.rows) for article in found)) == (48, 1190)
        assert len({row.text[1] for article in found for row in article.rows}) == 240
    tasks = xquad.tasks(mirror=mirror)
    assert {task.name: [len(rows) for rows in task.splits.values()] for task in tasks} == {
        "xquad-en": [841, 112, 230],
        "xquad-es": [842, 112, 229],
    }
    for task in tasks:
        contexts = [{row.text[1] for row in rows} for rows in task.splits.values()]
        assert len(set.union(*contexts)) == sum(map(len, contexts)) == 240
    assert check(Stream("xquad", tuple(tasks))) == []
