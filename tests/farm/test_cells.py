"""What the cells of a table mean, and which are told as a mistake."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pack.farm.jobs import Jobs, read_jobs
from pack.farm.keeper import Keeper
from pack.farm.rows import Files, Planner
from pack.farm.sheet import write_sheet
from pack.farm.work import FarmError, Filled, unmade

NOON = datetime.datetime(2024, 5, 1, 12, 30)
LONG = "x" * ((1 << 20) + 1)


def parquet_jobs(folder: Path, **columns: Any) -> Jobs:
    parquet.write_table(pa.table(columns), folder / "a.parquet")
    return read_jobs(str(folder / "a.parquet"))


def text_jobs(folder: Path, name: str, content: str | bytes) -> Jobs:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_jobs(str(folder / name))


def cells(jobs: Jobs) -> list[dict[str, Any]]:
    return [dict(jobs.row(place)) for place in range(len(jobs))]


def told(jobs: Jobs, place: int, column: str) -> str:
    with pytest.raises(FarmError) as caught:
        jobs.row(place)[column]
    return str(caught.value)


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        (pa.array([NOON.date(), None]), ["2024-05-01", None]),
        (pa.array([NOON, None]), ["2024-05-01T12:30:00", None]),
        (
            pa.array([1_500_000_001, None], pa.timestamp("ns")),
            ["1970-01-01T00:00:01.500000001", None],
        ),
        (pa.array([1_500, None], pa.timestamp("ms")), ["1970-01-01T00:00:01.5", None]),
        (pa.array([0], pa.timestamp("us", "UTC")), ["1970-01-01T00:00:00Z"]),
        (pa.array([0], pa.timestamp("us", "Asia/Kolkata")), ["1970-01-01T05:30:00+05:30"]),
        (pa.array([NOON.time(), None]), ["12:30:00", None]),
        (pa.array([Decimal("1.50"), None]), ["1.50", None]),
        (pa.array([0.7, math.nan, None], pa.float32()), [0.7, None, None]),
        (pa.array([0.7, math.nan, None]), [0.7, None, None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_what_has_a_meaning_is_read_as_that(
    tmp_path: Path, column: pa.Array, meant: Sequence[Any]
) -> None:
    jobs = parquet_jobs(tmp_path, cell=column)
    found = [row["cell"] for row in cells(jobs)]
    assert found == [*meant] and [*map(type, found)] == [*map(type, meant)]
    assert jobs.column("cell") == found


@pytest.mark.parametrize(
    ("cell", "kind", "what"),
    [
        ([1, 2], None, "a list"),
        ([1, 2], pa.list_(pa.int64(), 2), "a list"),
        ({"a": 1}, None, "an object"),
        ([("a", 1)], pa.map_(pa.string(), pa.int64()), "an object"),
        (b"ab", None, "bytes"),
        (b"ab", pa.binary(2), "bytes"),
        (datetime.timedelta(1), None, "a value of the type duration[us]"),
        (LONG, None, "1,048,577 characters"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_has_none_is_its_row_s_mistake(
    tmp_path: Path, cell: Any, kind: pa.DataType | None, what: str
) -> None:
    jobs = parquet_jobs(tmp_path, prompt=["a", "b"], tags=pa.array([None, cell], kind))
    assert dict(jobs.row(0)) == {"prompt": "a", "tags": None}
    assert jobs.row(1)["prompt"] == "b"
    assert told(jobs, 1, "tags").startswith(f"row 2 has in the column tags {what}, and ")
    assert all(isinstance(one, str | None) for one in jobs.column("tags"))  # rows are grouped by it


@dataclass(frozen=True)
class Painter:
    """A workflow that takes some of the columns."""

    columns: tuple[str, ...]
    files: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def fill(self, row: Mapping[str, Any], names: Mapping[str, str]) -> Filled:
        return Filled({"1": {"inputs": {**{name: row[name] for name in self.columns}, **names}}})


def test_a_column_that_fills_nothing_holds_anything(tmp_path: Path) -> None:
    jobs = parquet_jobs(tmp_path, prompt=["a"], picture=[{"bytes": b"1", "path": "x"}])
    Planner(jobs, Painter(("prompt",)), Files(bytes)).plan(0)
    jobs = text_jobs(tmp_path, "a.jsonl", '{"prompt": "a", "tags": ["b"]}\n')
    Planner(jobs, Painter(("prompt",)), Files(bytes)).plan(0)
    with pytest.raises(FarmError, match="row 1 has in the column tags a list"):
        Planner(jobs, Painter(("prompt", "tags")), Files(bytes)).plan(0)


def test_an_empty_number_is_no_path_and_a_zero_is_one(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"1")
    painter = Painter((), frozenset({"mask", "reference"}))
    columns = {"mask": [math.nan, math.nan], "reference": pa.array([0, None], pa.int8())}
    planner = Planner(parquet_jobs(tmp_path, **columns), painter, Files(bytes))
    assert [*planner.plan(0).filled.graph["1"]["inputs"]] == ["reference"]
    assert planner.plan(1).filled.graph["1"]["inputs"] == {}
    assert [*planner.groups()] == [(None, 0), (None, None)]


def test_half_a_character_is_its_row_s_mistake(tmp_path: Path) -> None:
    lines = r"""{"prompt": "a", "seed": 1}
{"prompt": "\ud800", "seed": 2}
{"prompt": "\ud83d\ude00", "seed": 3}
{"prompt": "a", "\ud800": 4}
"""
    jobs = text_jobs(tmp_path, "a.jsonl", lines)
    assert len(jobs) == 4 and jobs.row(2) == {"prompt": "😀", "seed": "3"}
    assert told(jobs, 1, "prompt").startswith("row 2 has in the column prompt half a character")
    assert "line 4 has a name with half a character" in told(jobs, 3, "prompt")
    texts = pa.array([b"a", b"\xff", b"\xc3\xa9"]).buffers()[1:]
    jobs = parquet_jobs(tmp_path, prompt=pa.Array.from_buffers(pa.string(), 3, [None, *texts]))
    assert [jobs.row(place)["prompt"] for place in (0, 2)] == ["a", "é"]
    assert told(jobs, 1, "prompt").startswith("row 2 has in the column prompt half a character")


def test_numbers_of_json_keep_their_digits_and_nan_is_empty(tmp_path: Path) -> None:
    row = '{"a": 18446744073709551615.0, "b": NaN, "c": Infinity, "d": true, "e": 0.70, "f": null}'
    for name, content in {"a.jsonl": row, "a.json": f"[{row}]"}.items():
        (found,) = cells(text_jobs(tmp_path, name, content))
        assert found == {
            **{"a": "18446744073709551615.0", "b": None, "c": "Infinity", "d": "true"},
            **{"e": "0.70", "f": None},
        }


def test_a_list_of_objects_is_a_table(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "seed": 1}, {"prompt": "[b"}, 3]
    for name, indent in {"a.json": None, "b.jsonl": 2}.items():
        jobs = text_jobs(tmp_path, name, "\n" + json.dumps(rows, indent=indent))
        assert len(jobs) == 3 and jobs.row(0) == {"prompt": "a", "seed": "1"}
        assert jobs.row(1) == {"prompt": "[b", "seed": None}
        assert told(jobs, 2, "prompt").startswith("item 3 is no JSON object")
    for name, indent in {"d.json": None, "e.json": 2}.items():
        named = {"version": 1, "tags": ["x"], "rows": rows[:2]}
        jobs = text_jobs(tmp_path, name, json.dumps(named, indent=indent))
        assert len(jobs) == 2 and jobs.row(0) == {"prompt": "a", "seed": "1"}
    jobs = text_jobs(tmp_path, "f.json", json.dumps(rows[0], indent=2))
    assert len(jobs) == 1 and jobs.row(0) == {"prompt": "a", "seed": "1"}
    tags = {"prompt": "a", "tags": [{"x": 1}, {"x": 2}]}
    jobs = text_jobs(tmp_path, "h.json", json.dumps(tags))
    assert len(jobs) == 1 and jobs.row(0)["prompt"] == "a"
    with pytest.raises(FarmError, match="has nothing in it"):
        text_jobs(tmp_path, "i.json", '{"rows": []}')
    lines = json.dumps({"prompt": "a", "tags": [{"b": 1}]}) + '\n{"prompt": "b"}\n'
    jobs = text_jobs(tmp_path, "g.jsonl", lines)
    assert len(jobs) == 2 and jobs.row(1)["prompt"] == "b"
    jobs = text_jobs(tmp_path, "c.jsonl", '[1]\n{"prompt": "a"}\n')
    assert told(jobs, 0, "prompt").startswith("line 1 is no JSON object")
    assert jobs.row(1) == {"prompt": "a"}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", "{\nx\n", "has 2 rows and no column: line 1 is no JSON"),
        ("a.jsonl", "\n7\n", "has 1 row and no column: line 2 is no JSON object"),
        ("a.jsonl", "{}\n", "has 1 row and no column: line 1 has no names"),
        ("a.json", '[\n{"a": 1},\n', "is no list of JSON objects that can be read"),
        ("a.json", "[]", "has nothing in it"),
        ("a.jsonl", "\n\n", "has nothing in it"),
        ("a.csv", " \n\n", "has nothing in it"),
        ("a.csv", "\nprompt;seed\n", "has only names of columns"),
        ("a.csv", "7,0.5\n8,0.6\n", "begins with 7, 0.5, and its first line has to name"),
        ("a.csv", '\nprompt,seed\na,1\n"b,2\nc,3\n', "line 4 .opens a quote that nothing closes"),
        ("a.csv", 'prompt,seed\n"a" b,1\n', "line 2 .',' expected"),
        ("a.csv", "prompt\n".encode("utf-16-le"), "has bytes in it that no text has"),
        ("a.csv", "prompt\n".encode("utf-32"), "has bytes in it that no text has"),
        ("a.csv", b"PK\x03\x04\x14\x00\x08\x00", "has bytes in it that no text has"),
        ("a.csv", " prompt;prompt \na;b\n", "has two columns 'prompt'"),
        ("a.xlsx", b"PK\x03\x04", 'is a spreadsheet, .* Save it as CSV ."CSV UTF-8" in Excel'),
        ("jobs", "prompt\na\n", "has no ending, and the ending says"),
        ("a.parquet.gz", b"", "ends in '.gz'"),
    ],
)
def test_what_is_no_table_is_said_as_it_was_found(
    tmp_path: Path, name: str, content: str | bytes, sentence: str
) -> None:
    with pytest.raises(FarmError, match=sentence):
        text_jobs(tmp_path, name, content)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    for name in ("jobs", "jobs.csv", "jobs.parquet"):
        (tmp_path / name).mkdir()
        with pytest.raises(FarmError, match="is a folder, and a table is a file"):
            read_jobs(str(tmp_path / name))


def test_columns_of_one_name_are_told_in_each_kind(tmp_path: Path) -> None:
    for names in (["prompt", "prompt"], ["prompt", " prompt"]):
        table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=names)
        parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(FarmError, match="has two columns 'prompt'"):
            read_jobs(str(tmp_path / "a.parquet"))
    with pytest.raises(FarmError, match="has a column without a name"):
        parquet_jobs(tmp_path, **{" ": ["a"]})
    assert parquet_jobs(tmp_path, **{" prompt ": ["a"]}).columns == ("prompt",)
    lines = '{"a": 1, "a": 2}\n{"a": 1, "a ": 2}\n{" a": 3}\n{"": 4}\n'
    jobs = text_jobs(tmp_path, "a.jsonl", lines)
    assert jobs.columns == ("a",) and jobs.row(2) == {"a": "3"}
    assert [told(jobs, place, "a").split(". ")[0] for place in (0, 1, 3)] == [
        "line 1 has two values of the name 'a'",
        "line 2 has two values of the name 'a'",
        "line 4 has a value without a name",
    ]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.csv", ("prompt,seed", "{},1", '"a, b; c\t",2')),
        ("a.csv", ("prompt;seed", "{};1", '"a, b; c\t";2')),
        ("a.csv", ("prompt\tseed", "{}\t1", '"a, b; c\t"\t2')),
        ("a.tsv", ("prompt\tseed", "{}\t1", '"a, b; c\t"\t2')),
        ("a.csv", ("sep=;", "prompt;seed", "{};1", '"a, b; c\t";2')),
        ("a.csv", ("", "  ", "prompt;seed", "", "{};1", "  ", '"a, b; c\t";2')),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_line_of_names_says_what_stands_between_cells(
    tmp_path: Path, name: str, lines: Sequence[str], encoding: str
) -> None:
    content = "\r\n".join(lines).format("é").encode(encoding)
    found = cells(text_jobs(tmp_path, name, content))
    assert found == [{"prompt": "é", "seed": "1"}, {"prompt": "a, b; c\t", "seed": "2"}]


def test_what_stands_between_quotes_is_part_of_a_name(tmp_path: Path) -> None:
    jobs = text_jobs(tmp_path, "a.csv", 'a;"b, c, ""d"", e"\n1;2\n')
    assert cells(jobs) == [{"a": "1", 'b, c, "d", e': "2"}]
    jobs = text_jobs(tmp_path, "a.csv", '"prompt; of a, b"\na cat; asleep\n""\n')
    assert cells(jobs) == [{"prompt; of a, b": "a cat; asleep"}, {"prompt; of a, b": ""}]


def test_lines_of_nothing_but_separators_are_empty_lines(tmp_path: Path) -> None:
    jobs = text_jobs(tmp_path, "a.csv", "prompt;seed\na cat;1\n;\n ; \n;2\n")
    assert cells(jobs) == [{"prompt": "a cat", "seed": "1"}, {"prompt": "", "seed": "2"}]
    assert text_jobs(tmp_path, "a.tsv", "prompt, seed\na, b\n").columns == ("prompt, seed",)


def test_a_line_of_other_length_is_counted_from_where_it_begins(tmp_path: Path) -> None:
    jobs = text_jobs(tmp_path, "a.csv", '\nprompt;seed\n"a\nb";1\n"c\nd"\n')
    assert told(jobs, 1, "prompt") == (
        "line 5 has 1 cell and the table 2 columns. Put texts that hold a semicolon between "
        'quotes (")'
    )


def test_a_long_cell_stops_no_other_row(tmp_path: Path) -> None:
    for name, content in {
        "a.csv": f"prompt\na\n{LONG}\n",
        "a.jsonl": f'{{"prompt": "a"}}\n{{"prompt": "{LONG}"}}\n',
    }.items():
        jobs = text_jobs(tmp_path, name, content)
        assert jobs.row(0)["prompt"] == "a"
        assert "1,048,577 characters" in told(jobs, 1, "prompt")


@pytest.mark.parametrize("cell", ["~nobody-of-that-name/a.png", "a\0b.png", "github://a.png"])
def test_no_path_of_a_cell_is_more_than_its_row_s_mistake(tmp_path: Path, cell: str) -> None:
    jobs = text_jobs(tmp_path, "a.jsonl", json.dumps({"reference": cell}))
    painter = Painter((), frozenset({"reference"}))
    with pytest.raises(FarmError, match="does not exist|cannot be read"):
        Planner(jobs, painter, Files(bytes)).plan(0)


def test_results_keep_columns_as_they_were_and_the_sheet_says_what_they_mean(
    tmp_path: Path,
) -> None:
    texts = pa.array([b"a", b"\xff"]).buffers()[1:]
    jobs = parquet_jobs(
        tmp_path,
        prompt=pa.Array.from_buffers(pa.string(), 2, [None, *texts]),
        at=pa.array([1, 2], pa.timestamp("ns")),
        on=[NOON.date()] * 2,
        tags=[["x"], ["y"]],
        raw=[b"12", b"34"],
    )
    keeper = Keeper(tmp_path / "out")
    path = keeper.write_table(jobs, [None, None], {1: unmade("farm.Row", "no")})
    keeper.close()
    found = parquet.read_table(path)
    assert found["tags"].to_pylist() == [["x"], ["y"]] and found["raw"][1].as_py() == b"34"
    assert found["at"].type == pa.timestamp("ns") and found["prompt"].to_pylist() == ["a", None]
    page = write_sheet(path).read_text("utf-8")
    assert "at 1970-01-01T00:00:00.000000001 · on 2024-05-01<" in page
    assert "tags" not in page and "b'12'" not in page
