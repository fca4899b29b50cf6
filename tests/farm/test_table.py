"""Tables, rows and records of a farm, without Ray."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pack.farm.jobs import read_jobs
from pack.farm.keeper import EMBEDS, Keeper, own_names
from pack.farm.references import DIGESTS, Embeds, References
from pack.farm.rows import Files, Line, Planner
from pack.farm.work import Cut, FarmError, Filled, Made, graph_key, unmade

SEED = 2**64 - 1


def test_tables_of_each_kind_say_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": "a, b", "seed": SEED - number, "scale": 0.5} for number in range(3)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    cells = "".join(f'"a, b",{row["seed"]},0.5\r\n' for row in rows)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.csv").write_bytes(("\ufeffprompt,seed,scale\r\n" + cells).encode())
    (tmp_path / "a.CSV.gz").write_bytes(gzip.compress(b"prompt,seed,scale\n" + cells.encode()))
    seeds = pa.array([row["seed"] for row in rows], pa.uint64())
    table = pa.table({"prompt": ["a, b"] * 3, "seed": seeds, "scale": [0.5] * 3})
    parquet.write_table(table, tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.csv", "a.CSV.gz", "a.parquet"):
        jobs = read_jobs(str(tmp_path / name))
        assert len(jobs) == 3 and jobs.columns == ("prompt", "seed", "scale")
        found = [{key: str(cell) for key, cell in jobs.row(place).items()} for place in range(3)]
        assert found == [{key: str(cell) for key, cell in row.items()} for row in rows], name
    same = read_jobs((tmp_path / "a.csv").as_uri())
    assert same.row(0) == {**jobs.row(0), "seed": str(SEED), "scale": "0.5"}
    assert same.file("faces/b.png") == (tmp_path / "faces/b.png").as_uri()
    assert jobs.file("faces/b.png") == str(tmp_path / "faces/b.png")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.doc", "", "ends in '.doc'"),
        ("a.csv", "", "nothing in it"),
        ("a.csv", "prompt,seed\n", "only names of columns"),
        ("a.csv", "prompt,,seed\na,b,c\n", "a column without a name"),
        ("a.csv", "prompt,prompt\na,b\n", "two columns 'prompt'"),
        ("a.csv", 'prompt\n"never closed\n', "is no CSV that can be read"),
        ("a.csv", "prompt\n\xe9\n", "not written in UTF-8"),
        ("a.parquet", "PAR1 or not", "is no Parquet that can be read"),
        ("a.csv.gz", "not packed", "a.csv.gz"),
    ],
)
def test_what_is_no_table_is_told_in_a_sentence(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(FarmError, match=told):
        read_jobs(str(tmp_path / name))


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    for source in (str(tmp_path / "none.csv"), (tmp_path / "none.csv").as_uri()):
        with pytest.raises(FarmError, match="does not exist"):
            read_jobs(source)
    for source in ("nosuch://bucket/a.csv", str(tmp_path / "folder.csv")):
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(FarmError, match="cannot be read|is a folder"):
            read_jobs(source)


def test_a_bad_line_is_its_row_s_problem(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,seed\na,1\na, b,2\n\nc\nd,4\n")
    jobs = read_jobs(str(tmp_path / "a.csv"))
    assert len(jobs) == 4 and jobs.row(3) == {"prompt": "d", "seed": "4"}
    for place, line in {1: "line 3 has 3 cells", 2: "line 5 has 1 cell "}.items():
        with pytest.raises(FarmError, match=line):
            jobs.row(place)
    lines = ['{"prompt": "a"}', "{", "[1]", '{"prompt": ["a"]}', '{"seed": 1, "prompt": null}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    jobs = read_jobs(str(tmp_path / "a.jsonl"))
    for place, line in {1: "line 2 is no JSON", 2: "line 3 is no JSON object"}.items():
        with pytest.raises(FarmError, match=line):
            jobs.row(place)
    with pytest.raises(FarmError, match="row 4 has in the column prompt a list"):
        jobs.row(3)["prompt"]
    assert jobs.row(0) == {"prompt": "a", "seed": None}
    assert jobs.row(4) == {"prompt": None, "seed": "1"}


@dataclass(frozen=True)
class Echo:
    """A workflow that is its row."""

    files: frozenset[str] = frozenset({"reference"})
    notes: tuple[str, ...] = ()

    def fill(self, row: Mapping[str, Any], names: Mapping[str, str]) -> Filled:
        return Filled({"1": {"inputs": {**row, **names}}}, tuple(names.values()))


def test_a_row_is_named_by_what_is_in_it_and_in_its_files(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"1")
    (tmp_path / "same.jpeg").write_bytes(b"1")
    (tmp_path / "a.csv").write_text(
        "seed,reference\n1,one.png\n1, same.jpeg \n2,one.png\n1,none.png\n1,\n1,pipe\n1,big\n"
    )
    jobs = read_jobs(str(tmp_path / "a.csv"))
    reads = list[bytes]()
    planner = Planner(jobs, Echo(), Files(reads.append))
    first, same, other = (planner.plan(place) for place in range(3))
    assert first.key == same.key != other.key and reads == [b"1"]
    assert first.filled.files[0].startswith("farm-") and "." not in first.filled.files[0]
    with pytest.raises(FarmError, match="none.png does not exist"):
        planner.plan(3)
    assert planner.plan(4).filled.files == ()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FarmError, match="is no file"):
        planner.plan(5)
    with (tmp_path / "big").open("wb") as file:
        file.truncate((1 << 28) + 1)
    with pytest.raises(FarmError, match="more than 256 MB"):
        planner.plan(6)
    (tmp_path / "one.png").write_bytes(b"2")
    assert Planner(jobs, Echo(), Files(lambda content: content)).plan(0).key != first.key


@pytest.mark.skipif(os.sep != "/", reason="where it is what Windows writes")
def test_paths_as_windows_writes_them_are_found(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("photos/a.png", "b\\c.png"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "a.csv").write_text("reference\nphotos\\a.png\nb\\c.png\nno\\where.png\n")
    jobs = read_jobs(str(tmp_path / "a.csv"))
    contents = list[bytes]()
    planner = Planner(jobs, Echo(), Files(contents.append))
    planner.plan(0)
    planner.plan(1)
    assert contents == [b"photos/a.png", b"b\\c.png"]
    with pytest.raises(FarmError, match="no/where.png does not exist"):
        planner.plan(2)


def test_an_address_that_does_not_answer_is_not_called_missing() -> None:
    with pytest.raises(FarmError, match="is not there, or its server does not answer"):
        Files(bytes).name("https://127.0.0.1:9/x.png")


def test_titles_of_nodes_name_no_row() -> None:
    node = {"class_type": "KSampler", "inputs": {"seed": 1}}
    titled = node | {"_meta": {"title": "mine"}}
    assert graph_key({"1": node}) == graph_key({"1": titled})
    assert graph_key({"1": node}) != graph_key({"1": node | {"inputs": {"seed": 2}}})


def test_a_file_that_changes_under_a_job_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pack.farm.rows.SHELF_FILES", 1)
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    files = Files(lambda content: content)
    name = files.name(str(one))
    files.name(str(two))
    assert files.get(name) == b"1"  # read again: the shelf holds one
    assert files.get(files.name(str(two))) == b"2"
    one.write_bytes(b"3")
    with pytest.raises(FarmError, match="changed while the job ran"):
        files.get(name)


def test_a_worker_stays_with_a_reference_and_helps_at_the_end() -> None:
    line = Line(["a", "b", "a", "b", "a", "a"])
    assert [line.take(0), line.take(1), line.take(0), line.take(1)] == [0, 1, 2, 3]
    assert line and [line.take(1), line.take(0), line.take(0)] == [4, 5, None] and not line


def test_a_reference_is_asked_for_once_by_all_its_rows(tmp_path: Path) -> None:
    jobs = read_jobs(str(_table(tmp_path)))
    cuts = [Cut(key * 32, {}, (), f"embeds-{key}") for key in "ab"]
    plans = [Planner(jobs, Echo(), Files(bytes)).plan(place) for place in range(2)]
    for plan in plans:
        object.__setattr__(plan, "filled", Filled({}, (), tuple(cuts)))
    folder = tmp_path / "out"
    (folder / EMBEDS).mkdir(parents=True)
    references = References(Embeds(folder), lambda content: content)
    assert [references.contents(plan) for plan in plans] == [None, None]
    assert [*references.asked] == cuts and references.rows == 2
    assert references.keep(cuts[0], b"A") == plans and references.rows == 0
    assert references.contents(plans[0]) is None  # for the other
    why = unmade("ipadapter.NoFace", "no face")
    assert references.refuse(cuts[1], why) == plans[:1]
    assert references.problem(plans[1]) == why
    with (folder / DIGESTS).open("a") as file:
        file.write('{"key": "a')  # as a crash leaves it
    again = References(Embeds(folder), lambda content: content)
    again.contents(plans[0])
    assert again.keep(cuts[1], b"B") == plans[:1] and [*again.asked] == cuts[1:]
    assert again.contents(plans[0]) == [b"A", b"B"]
    whole = References(Embeds(folder), lambda content: content)
    assert whole.contents(plans[0]) == [b"A", b"B"] and not whole.asked


def _table(folder: Path) -> Path:
    path = folder / "a.csv"
    path.write_text("seed,file\n1,x\n2,\n3,y\n")
    return path


def test_a_result_table_is_a_table_of_jobs_too(tmp_path: Path) -> None:
    columns = ["row", "job.row", "file", "job.job.row"]
    assert own_names(columns) == ["job.job.job.row", "job.row", "job.file", "job.job.row"]
    (tmp_path / "a.csv").write_text("row,job.row\n1,2\n")
    keeper = Keeper(tmp_path / "out")
    path = keeper.write_table(read_jobs(str(tmp_path / "a.csv")), [None], {})
    keeper.close()
    (row,) = parquet.read_table(path).to_pylist()
    assert (row["row"], row["job.row"], row["job.job.row"]) == (1, "2", "1")


def test_records_outlive_a_crash_and_deleted_pictures_are_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    keeper = Keeper(out)
    with pytest.raises(FarmError, match="another job is writing"):
        Keeper(out)
    one, two, three = "01" * 16, "02" * 16, "03" * 16
    keeper.keep(one, Made(((".png", b"1"), (".webp", b"22")), 1.5, "gpu:1"))
    keeper.keep(two, Made((), 0.1, "gpu:1", "ipadapter.WrongBase", "does not fit"))
    assert keeper.has(one) and not keeper.has(two) and not keeper.has(three)
    keeper.close()
    whole = (out / "rows.jsonl").read_bytes()
    # The second would run into the record after it.
    for rest in (b'{"key": "0303', whole.splitlines()[0]):
        (out / "rows.jsonl").write_bytes(whole + rest)
        keeper = Keeper(out)
        assert (out / "rows.jsonl").read_bytes() == whole and keeper.has(one)
        keeper.close()
    keeper = Keeper(out)
    keeper.keep(two, Made(((".png", b"2"),), 1.5, "gpu:1"))
    jobs = read_jobs(str(_table(tmp_path)))
    rows = parquet.read_table(
        keeper.write_table(jobs, [one, two, None], {2: unmade("farm.Row", "no")})
    ).to_pylist()
    assert rows[0] == {
        **{"row": 1, "seconds": 1.5, "worker": "gpu:1", "message": "", "problem": "", "key": one},
        "file": [f"pictures/01/{one}.png", f"pictures/01/{one}-1.webp"],
        **{"seed": "1", "job.file": "x"},
    }
    assert [row["message"] for row in rows] == ["", "", "no"]
    assert [len(row["file"]) for row in rows] == [2, 1, 0]
    (out / rows[0]["file"][1]).write_bytes(b"")  # as a loss of power may leave it
    assert not keeper.has(one) and keeper.has(two)
    (out / "pictures" / "03").write_text("no folder")
    with pytest.raises(FarmError, match="pictures/03.* cannot be written .*and start again"):
        keeper.keep(three, Made(((".png", b"3"),), 1.5, "gpu:1"))
    keeper.close()
