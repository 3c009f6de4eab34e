from __future__ import annotations

import pytest

from continual.errors import DataError
from continual.stream.table import read_table


@pytest.fixture
def write(tmp_path):
    def write(name: str, data: str | bytes):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
        return path

    return write


ROWS = [('He said "no",\nthen left', "bad"), ("naïve ☕", "good")]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", 'text,id,label|"He said ""no"",\nthen left",1,bad|naïve ☕,2, good |'),
        ("a.TSV", 'label\ttext|bad\t"He said ""no"",\nthen left"|good\tnaïve ☕'),
        (
            "a.jsonl",
            '{"text": "He said \\"no\\",\\nthen left", "label": "bad"}||{"label": "good", "text": "naïve ☕"}|',
        ),
    ],
)
def test_the_same_rows_come_from_every_format(write, name, data, end, bom):
    assert read_table(write(name, bom + data.replace("|", end).encode("utf-8"))) == ROWS


def test_columns_may_have_any_name(write):
    assert read_table(write("a.csv", "body,topic\nhi,x\n"), text="body", label="topic") == [("hi", "x")]


def test_json_numbers_and_booleans_are_labels(write):
    path = write("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": true}\n')
    assert read_table(path) == [("a", "1"), ("b", "true")]


@pytest.mark.parametrize(("name", "data"), [("a.csv", "body,label\nhi,x\n"), ("a.jsonl", '{"body": "hi", "label": 1}')])
def test_a_missing_column_lists_the_columns_found(write, name, data):
    with pytest.raises(DataError, match=r"unknown column 'text'; choose from: body, label"):
        read_table(write(name, data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "text,label\nhi,x\nho,\n"),
        ("a.csv", "text,label\nhi,x\nho\n"),
        ("a.csv", "text,label\nhi,x\nho,  \n"),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n\n{"text": "ho", "label": null}\n'),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n\n{"text": "ho"}\n'),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n\n{"text": "ho", "label": ["x"]}\n'),
    ],
)
def test_a_row_without_a_label_is_named_by_its_line(write, name, data):
    with pytest.raises(DataError, match="line 3: expected a label in 'label'"):
        read_table(write(name, data))


def test_a_row_without_a_text_is_named_by_its_line(write):
    with pytest.raises(DataError, match="line 2: expected a text"):
        read_table(write("a.csv", "label,text\nx\n"))


def test_line_numbers_count_the_lines_inside_quoted_fields(write):
    with pytest.raises(DataError, match="line 4: expected a label"):
        read_table(write("a.csv", 'text,label\n"two\nlines",x\nho,\n'))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "text,label\nhi,x\ncafé,y\n"),
        ("a.tsv", "text\tlabel\nhi\tx\ncafé\ty\n"),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n\n{"text": "café", "label": "y"}\n'),
    ],
)
def test_bytes_that_are_not_utf8_are_named_by_their_line(write, name, data):
    with pytest.raises(DataError, match=rf"{name}, line 3: not utf-8 \(byte 0xe9\); save the file as utf-8"):
        read_table(write(name, data.encode("latin-1")))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_utf16_is_named_in_its_first_line(write, name):
    with pytest.raises(DataError, match=r"line 1: not utf-8 \(byte 0xff\)"):
        read_table(write(name, '{"text": "hi", "label": "x"}\n'.encode("utf-16")))


@pytest.mark.parametrize("data", ["", "text,label\n", "text,label\n\n"])
def test_a_file_without_rows_is_refused(write, data):
    with pytest.raises(DataError, match="no rows"):
        read_table(write("a.csv", data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('text,label\n"never closed,x\nho,y\n', "line 2: .*never closed"),
        ('text,label\nhi,x\n"a" b,y\n', "line 3: "),
        ("text,label\nhi, there,x\n", "line 2: expected 2 fields"),
    ],
)
def test_broken_quoting_is_named_by_its_line(write, data, message):
    with pytest.raises(DataError, match=message):
        read_table(write("a.csv", data))


@pytest.mark.parametrize("line", ["{oops", "[1]"])
def test_a_line_that_is_no_json_object_is_named(write, line):
    with pytest.raises(DataError, match="line 2: "):
        read_table(write("a.jsonl", '{"text": "hi", "label": "x"}\n' + line))


def test_another_extension_or_no_file_is_refused(tmp_path, write):
    with pytest.raises(DataError, match=r"unknown extension '\.xlsx'; choose from: \.csv, \.jsonl, \.tsv"):
        read_table(write("a.xlsx", ""))
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "b.csv")
