"""The block-weight editor as a user meets it, on the host's real front end, drawn in both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_page import MEANINGS, ComfyPage
from kit.server.live import Client
from kit.unet import parse_blocks, preset, transformer_factors
from playwright.sync_api import Locator, expect

EDITOR = '[data-ipadapter="block-weights"]'
JSON_TEXT = '{"up": {"block_0": [0, 1, 0.5]}, "mid": -0.25}'


class Editor:
    """The one block-weight editor on the page."""

    def __init__(self, comfy: ComfyPage, node: str) -> None:
        self.comfy, self.node = comfy, node
        self.root = comfy.shown(EDITOR)
        expect(self.root).to_have_count(1)

    def bar(self, number: int) -> Locator:
        return self.root.get_by_role("slider").nth(number)

    def values(self) -> list[float]:
        read = "bars => bars.map(bar => Number(bar.getAttribute('aria-valuenow')))"
        return self.root.get_by_role("slider").evaluate_all(read)

    def text(self) -> str:
        return self.comfy.widgets(self.node)["weights"]

    def preset(self) -> str:
        return self.comfy.widgets(self.node)["preset"]

    def note(self) -> str:
        return self.root.get_by_role("status").inner_text()

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def draw(self, family: str) -> None:
        self.choose("Model family shown", family)

    def choose(self, label: str, option: str) -> None:
        self.root.get_by_label(label, exact=True).select_option(option)
        self.comfy.settle()

    def place(self, number: int, value: float) -> tuple[float, float]:
        """Where on the screen a bar of the usual axis, -0.5 to 1.5, has this value."""
        box = self.bar(number).bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] * (1.5 - value) / 2

    def drag(self, number: int, to: float) -> None:
        self.comfy.drag(self.place(number, 0.6), self.place(number, to))


def heard_by_transformer(text: str, family: str = "SD1.5") -> list[float]:
    return [layers[0] for layers in transformer_factors(parse_blocks(text), family)["factors"]]


def factors(name: str, family: str = "SD1.5") -> list[float]:
    return [layers[0] for layers in transformer_factors(preset(name), family)["factors"]]


class Second(Editor):
    """The lower of two block-weight editors, that of a pasted copy."""

    def __init__(self, comfy: ComfyPage, node: str) -> None:
        self.comfy, self.node = comfy, node
        editors = comfy.shown(EDITOR)
        expect(editors).to_have_count(2)
        self.root = editors.nth(1)


def beside_another(comfy: ComfyPage) -> Second:
    first = comfy.add("IPABlockWeights", preset="custom", weights="1:1")
    paste = """(id) => {
      const { app } = window;
      app.canvas.copyToClipboard([app.graph.getNodeById(id)]);
      app.canvas.pasteFromClipboard({ position: [480, 20] });
      return String(app.graph.nodes.at(-1).id);
    }"""
    copy = comfy.page.evaluate(paste, first)
    comfy.capture()
    comfy.settle()
    comfy.page.wait_for_timeout(80)
    return Second(comfy, copy)


def hold(comfy: ComfyPage, *keys: str) -> None:
    """Press keys as hands do, which let go of them after what they do is done."""
    for key in keys:
        comfy.page.keyboard.down(key)
    comfy.page.wait_for_timeout(300)
    for key in reversed(keys):
        comfy.page.keyboard.up(key)
    comfy.settle()
    comfy.page.wait_for_timeout(80)


@pytest.fixture
def editor(comfy: ComfyPage) -> Editor:
    return Editor(comfy, comfy.add("IPABlockWeights"))


def custom(comfy: ComfyPage, text: str) -> Editor:
    return Editor(comfy, comfy.add("IPABlockWeights", preset="custom", weights=text))


def test_a_preset_shows_its_weights_before_anything_is_changed(editor: Editor) -> None:
    for name in ("linear", "ease in", "style transfer", "composition"):
        editor.comfy.set(editor.node, "preset", name)
        assert editor.values() == pytest.approx(factors(name), abs=1e-4)
    assert (editor.preset(), editor.text()) == ("composition", "")


def test_the_preset_may_be_chosen_with_the_mouse(editor: Editor) -> None:
    page = editor.comfy.page
    if editor.comfy.vue:
        page.locator("[data-node-id]").get_by_role("combobox").first.click()
        page.get_by_role("option", name="ease in", exact=True).click()
    else:
        place = """(id) => {
          const node = window.app.graph.getNodeById(id);
          const y = node.widgets.find((each) => each.name === "preset").y;
          const at = window.app.canvas.ds.convertOffsetToCanvas(
            [node.pos[0] + node.size[0] - 20, node.pos[1] + y + 10]);
          const box = window.app.canvas.canvas.getBoundingClientRect();
          return [at[0] + box.left, at[1] + box.top];
        }"""
        page.mouse.click(*page.evaluate(place, editor.node))
    editor.comfy.settle()
    assert editor.preset() == "ease in"
    assert editor.values() == pytest.approx(factors("ease in"), abs=1e-4)


def test_a_dragged_bar_turns_the_preset_into_custom_weights(editor: Editor) -> None:
    editor.comfy.set(editor.node, "preset", "ease out")
    editor.drag(3, to=0.25)
    wanted = factors("ease out")
    wanted[3] = 0.25
    assert editor.preset() == "custom"
    assert heard_by_transformer(editor.text()) == pytest.approx(wanted, abs=1e-4)
    assert editor.values() == pytest.approx(wanted, abs=1e-4)


def test_a_bar_goes_below_zero_and_beyond_the_picture(editor: Editor) -> None:
    editor.drag(0, to=-0.4)
    assert editor.values()[0] == -0.4
    editor.drag(1, to=2.5)
    assert editor.values()[1] == 2.5
    prompt = editor.comfy.prompt()[editor.node]["inputs"]
    assert heard_by_transformer(prompt["weights"])[:3] == [-0.4, 2.5, 1]


def test_one_stroke_paints_all_bars_it_crosses(editor: Editor) -> None:
    mouse = editor.comfy.page.mouse
    mouse.move(*editor.place(2, 0.8))
    mouse.down()
    # Back and forth, faster than a bar at a time.
    mouse.move(*editor.place(6, 0.4))
    mouse.move(*editor.place(9, 0.7))
    mouse.move(*editor.place(8, 0.03))
    value = editor.root.locator(".ipa-value")
    expect(value).to_have_text("0")
    expect(editor.bar(8)).to_be_focused()
    mouse.up()
    editor.comfy.settle()
    expect(value).to_have_count(0)
    wanted = [0.8, 0.7, 0.6, 0.5, 0.4, 0.5, 0, 0.7]
    assert editor.values() == pytest.approx([1, 1, *wanted, *[1] * 6], abs=0.051)
    assert editor.values()[8] == 0
    assert editor.text().startswith("0-1:1, 2:") and editor.text().endswith(", 10-15:1")
    editor.comfy.press("Control+z")
    expect(editor.bar(2)).to_have_attribute("aria-valuenow", "1")
    assert (editor.preset(), editor.text()) == ("linear", "")


def test_a_bar_is_drawn_to_0_and_1_but_not_by_a_fine_hand(editor: Editor) -> None:
    for near, drawn in ((0.07, 0), (-0.07, 0), (0.94, 1), (1.06, 1), (0.12, 0.1)):
        editor.drag(0, to=near)
        assert editor.values()[0] == drawn, near
    page = editor.comfy.page
    page.keyboard.down("Shift")
    editor.drag(0, to=0.04)
    page.keyboard.up("Shift")
    assert editor.values()[0] == pytest.approx(0.04, abs=0.021)
    assert editor.values()[0] != 0


def test_what_is_known_of_blocks_stands_over_them_with_its_source(editor: Editor) -> None:
    for family, places in (("SD1.5", [(4, 5), (6, 6), (7, 9)]), ("SDXL", [(3, 3), (6, 6)])):
        editor.draw(family)
        words = editor.root.locator("[data-known]")
        finder = "InvokeAI" if family == "SD1.5" else "InstantStyle"
        texts = ["layout"] * (len(places) - 1) + [f"style\u00a0· {finder}"]
        assert words.all_text_contents() == texts
        for word, (first, last) in zip(words.all(), places, strict=True):
            assert "InstantStyle" in (word.get_attribute("title") or "")
            box, left, right = (
                each.bounding_box() for each in (word, editor.bar(first), editor.bar(last))
            )
            assert box is not None and left is not None and right is not None
            assert box["x"] == pytest.approx(left["x"], abs=2)
            assert box["x"] + box["width"] == pytest.approx(right["x"] + right["width"], abs=2)
            assert box["y"] + box["height"] <= left["y"] + 1
    editor.choose("Layers shown", "6")
    expect(editor.root.locator("[data-known]")).to_have_count(0)


def test_to_press_a_bar_only_chooses_it(editor: Editor) -> None:
    editor.bar(5).click()
    assert (editor.preset(), editor.text()) == ("linear", "")
    expect(editor.bar(5)).to_be_focused()
    assert editor.root.get_by_label("Weight of the chosen bar").input_value() == "1"


def test_double_click_resets_a_bar(editor: Editor) -> None:
    editor.comfy.set(editor.node, "preset", "style transfer")
    assert editor.values()[4] == 0
    editor.bar(4).dblclick()
    editor.comfy.settle()
    assert editor.values()[4] == 1
    assert editor.preset() == "custom"


@pytest.mark.parametrize("keys", [("PageDown", "Shift+ArrowUp", "ArrowDown")])
def test_keys_change_a_bar(editor: Editor, keys: tuple[str, ...]) -> None:
    editor.bar(0).focus()
    for key in keys:
        editor.comfy.press(key)
    assert editor.values()[0] == 0.71
    editor.comfy.press("Delete")
    assert editor.values()[0] == 1


def test_keys_do_not_go_on_to_the_canvas(editor: Editor) -> None:
    page = editor.comfy.page
    page.evaluate(
        "(id) => window.app.canvas.selectNode(window.app.graph.getNodeById(id))", editor.node
    )
    view = "() => [window.app.canvas.ds.scale, ...window.app.canvas.ds.offset]"
    before = page.evaluate(view)
    editor.bar(0).focus()
    for key in ("Delete", "Backspace", "p", "m", "q", "."):
        editor.comfy.press(key)
    page.keyboard.type("5\n")
    editor.comfy.settle()
    page.wait_for_timeout(300)
    assert editor.values()[0] == 0.5
    assert page.evaluate(view) == before
    nodes = editor.comfy.saved()["nodes"]
    assert [node["flags"] for node in nodes] == [{}]


def test_keys_go_from_bar_to_bar(editor: Editor) -> None:
    editor.bar(0).focus()
    for key, place in (("ArrowRight", 1), ("End", 15), ("ArrowLeft", 14), ("Home", 0)):
        editor.comfy.press(key)
        expect(editor.bar(place)).to_be_focused()
    stops = "bars => bars.filter(bar => bar.tabIndex === 0).length"
    assert editor.root.get_by_role("slider").evaluate_all(stops) == 1
    editor.comfy.press("Tab")
    expect(editor.root.get_by_label("Weight of the chosen bar")).to_be_focused()


def test_a_number_is_typed(editor: Editor) -> None:
    editor.bar(2).focus()
    editor.comfy.page.keyboard.type("-1.25\n")
    editor.comfy.settle()
    assert editor.values()[2] == -1.25
    expect(editor.bar(2)).to_be_focused()
    field = editor.root.get_by_label("Weight of the chosen bar")
    field.fill("0,333")
    field.press("Enter")
    editor.comfy.settle()
    assert editor.values()[2] == 0.333
    before = editor.text()
    for wrong in ("loud", "", "1e99"):
        field.fill(wrong)
        field.press("Enter")
        editor.comfy.settle()
        assert "is not a number" in editor.note()
        assert (editor.text(), field.input_value()) == (before, "0.333")


def test_bars_are_filled_along_a_curve(editor: Editor) -> None:
    editor.drag(15, to=0)
    editor.choose("Fill the bars", "Line from first to last")
    assert editor.values() == pytest.approx([1 - i / 15 for i in range(16)], abs=1e-3)
    editor.choose("Fill the bars", "Reverse the order")
    assert editor.values() == pytest.approx([i / 15 for i in range(16)], abs=1e-3)
    editor.choose("Fill the bars", "All 0")
    assert editor.values() == [0] * 16
    assert heard_by_transformer(editor.text()) == [0] * 16


def test_weights_go_from_node_to_node_by_the_clipboard(editor: Editor) -> None:
    editor.drag(7, to=0.3)
    first = editor.text()
    editor.bar(7).focus()
    editor.comfy.press("Control+c")
    editor.comfy.clear()
    second = custom(editor.comfy, "0:0.5")
    second.bar(0).focus()
    second.comfy.press("Control+v")
    # What is copied names each transformer, for programs that know no ranges.
    assert first == "0-6:1, 7:0.3, 8-15:1"
    assert second.text().startswith("0:1, 1:1, 2:1,")
    assert heard_by_transformer(second.text()) == heard_by_transformer(first)
    assert second.values()[7] == 0.3
    second.comfy.set(second.node, "preset", "composition")
    second.button("Copy").click()
    expect(second.root.get_by_role("status")).to_have_text("Copied.")
    second.comfy.set(second.node, "preset", "linear")
    second.button("Paste").click()
    expect(second.bar(4)).to_have_attribute("aria-valuenow", "0.25")
    assert heard_by_transformer(second.text()) == factors("composition")
    assert len(second.comfy.saved()["nodes"]) == 1


def test_what_is_no_weights_is_not_pasted(editor: Editor) -> None:
    page = editor.comfy.page
    page.evaluate("() => navigator.clipboard.writeText('a photo of a cat')")
    editor.button("Paste").click()
    expect(editor.root.get_by_role("status")).to_contain_text("no weights")
    assert (editor.preset(), editor.text()) == ("linear", "")


def test_undo_and_redo(editor: Editor) -> None:
    editor.drag(3, to=0.25)
    editor.drag(4, to=-0.25)
    dragged = editor.text()
    editor.comfy.press("Control+z")
    expect(editor.bar(4)).to_have_attribute("aria-valuenow", "1")
    expect(editor.bar(3)).to_have_attribute("aria-valuenow", "0.25")
    editor.comfy.press("Control+z")
    expect(editor.bar(3)).to_have_attribute("aria-valuenow", "1")
    assert (editor.preset(), editor.text()) == ("linear", "")
    editor.comfy.press("Control+y")
    editor.comfy.press("Control+y")
    expect(editor.bar(4)).to_have_attribute("aria-valuenow", "-0.25")
    assert editor.text() == dragged


def test_after_undo_the_editor_is_that_of_the_node_there_is_now(editor: Editor) -> None:
    editor.drag(3, to=0.25)
    editor.comfy.press("Control+z")
    expect(editor.bar(3)).to_have_attribute("aria-valuenow", "1")
    editor.drag(9, to=0.5)
    assert heard_by_transformer(editor.text())[9] == 0.5
    assert heard_by_transformer(editor.comfy.prompt()[editor.node]["inputs"]["weights"])[9] == 0.5


@pytest.mark.parametrize("way", ["Fill", "key", "number", "Paste"])
def test_each_change_is_one_step_of_undo(editor: Editor, way: str) -> None:
    editor.bar(1).focus()
    if way == "Fill":
        editor.choose("Fill the bars", "All 0")
    elif way == "key":
        editor.comfy.press("PageDown")
    elif way == "number":
        editor.comfy.page.keyboard.type("0.5\n")
    else:
        editor.comfy.page.evaluate("() => navigator.clipboard.writeText('1:0.5')")
        editor.comfy.press("Control+v")
    expect(editor.bar(1)).not_to_have_attribute("aria-valuenow", "1")
    editor.bar(1).focus()
    editor.comfy.press("Control+z")
    expect(editor.bar(1)).to_have_attribute("aria-valuenow", "1")
    assert (editor.preset(), editor.text()) == ("linear", "")


def test_escape_ends_a_drag_as_if_it_had_not_been(editor: Editor) -> None:
    mouse = editor.comfy.page.mouse
    mouse.move(*editor.place(2, 1))
    mouse.down()
    mouse.move(*editor.place(2, 0.2))
    assert editor.values()[2] == 0.2
    editor.comfy.press("Escape")
    mouse.move(*editor.place(2, 0.5))
    mouse.up()
    editor.comfy.settle()
    assert (editor.preset(), editor.text()) == ("linear", "")


def test_a_saved_workflow_holds_the_values_and_the_view(editor: Editor) -> None:
    editor.draw("SDXL")
    editor.drag(6, to=0.75)
    saved = editor.comfy.saved()
    node = saved["nodes"][0]
    assert node["widgets_values"] == ["custom", editor.text(), 1, 1]
    assert set(editor.comfy.prompt()[editor.node]["inputs"]) == {
        *("preset", "weights", "composition", "boost")
    }
    before = editor.values()
    editor.comfy.clear()
    editor.comfy.load(saved)
    again = Editor(editor.comfy, str(node["id"]))
    assert again.values() == before
    assert len(before) == 11
    again.drag(0, to=0.1)
    assert heard_by_transformer(again.text(), "SDXL")[0] == 0.1


def test_text_written_by_hand_is_shown(editor: Editor) -> None:
    editor.comfy.set(editor.node, "preset", "custom")
    page = editor.comfy.page
    box = page.locator("textarea").locator("visible=true")
    box.click()
    page.keyboard.type("0:0.5, 3:-1")
    editor.comfy.settle()
    assert editor.values()[:4] == [0.5, 0, 0, -1]


def test_the_scale_of_diffusers_is_shown(comfy: ComfyPage) -> None:
    editor = custom(comfy, JSON_TEXT)
    assert editor.values() == [0, 0, 0, 0, -0.25, 0, 1, 0.5, 0, 0, 0]
    assert editor.text() == JSON_TEXT
    editor.drag(0, to=0.5)
    wanted = transformer_factors(parse_blocks(JSON_TEXT), "SDXL")["factors"]
    wanted[0] = [0.5, 0.5]
    assert transformer_factors(parse_blocks(editor.text()), "SDXL")["factors"] == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loud, please", "cannot be shown"),
        ('{"up": {"block_0": [[0.2, 0.8], 1, 0]}}', "each of 2 references"),
        ("0:1, 57:1", "cannot be shown"),
        ("", "No weights yet"),
    ],
)
def test_text_the_bars_cannot_show_is_left_alone_until_a_bar_is_changed(
    comfy: ComfyPage, text: str, words: str
) -> None:
    editor = custom(comfy, text)
    assert words in editor.note()
    editor.draw("SDXL")
    editor.draw("SD1.5")
    editor.bar(1).focus()
    editor.comfy.press("ArrowRight")
    editor.comfy.load(editor.comfy.saved())
    assert editor.text() == text
    editor.drag(2, to=0.5)
    assert heard_by_transformer(editor.text())[2] == 0.5
    assert words not in editor.note()


def test_text_of_the_other_family_says_so(comfy: ComfyPage) -> None:
    editor = custom(comfy, "0:1, 12:0.5")
    editor.draw("SDXL")
    assert "fits SD1.5, not SDXL" in editor.note()
    assert editor.text() == "0:1, 12:0.5"


def test_layers_of_one_transformer(comfy: ComfyPage) -> None:
    editor = custom(comfy, "6:1, 3:0.5")
    editor.draw("SDXL")
    editor.bar(6).focus()
    comfy.press("Enter")
    assert editor.values() == [1] * 10
    expect(editor.bar(0)).to_be_focused()
    editor.drag(4, to=0.2)
    assert editor.text() == "3:0.5, 6:1, 6.4:0.2"
    editor.choose("Fill the bars", "1 minus each")
    comfy.press("Escape")
    editor.choose("Layers shown", "All blocks")
    assert editor.bar(6).get_attribute("aria-valuetext") == "layers from 0 to 0.8"
    layers = transformer_factors(parse_blocks(editor.text()), "SDXL")["factors"]
    assert layers[6] == [0, 0, 0, 0, 0.8, 0, 0, 0, 0, 0]
    editor.drag(6, to=1)
    assert editor.text() == "3:0.5, 6:1"


def test_what_a_preset_pushes_away_is_shown_and_not_kept_in_silence(editor: Editor) -> None:
    editor.comfy.set(editor.node, "preset", "style transfer precise")
    assert editor.bar(5).get_attribute("aria-valuetext") == "1, pushes away"
    assert "push away" in editor.note()
    editor.comfy.set(editor.node, "boost", 2.5)
    expect(editor.bar(5)).to_have_attribute("aria-valuenow", "2.5")
    editor.comfy.set(editor.node, "boost", 1)
    editor.drag(0, to=0.5)
    assert editor.values()[:7] == [0.5, 1, 1, 1, 0, 0, 0]
    assert "only presets can push away" in editor.note()


def test_weights_that_come_through_a_connection_are_not_for_the_bars(comfy: ComfyPage) -> None:
    editor = custom(comfy, "0:0.5")
    source = comfy.add("PrimitiveStringMultiline")
    link = """([from, to]) => {
      const [source, target] = [from, to].map((id) => window.app.graph.getNodeById(id));
      source.connect(0, target, target.inputs.findIndex((each) => each.name === "weights"));
    }"""
    comfy.page.evaluate(link, [source, editor.node])
    comfy.settle()
    assert "through a connection" in editor.note()
    editor.bar(0).focus()
    comfy.press("ArrowUp")
    assert editor.text() == "0:0.5"
    unlink = "(id) => window.app.graph.getNodeById(id).disconnectInput('weights')"
    comfy.page.evaluate(unlink, editor.node)
    comfy.settle()
    assert editor.note() == ""


@pytest.mark.parametrize("knob", [{"boost": float("nan")}, {"composition": "loud"}, {"boost": ""}])
def test_a_knob_that_is_no_number_is_answered_with_a_sentence(
    editor_server: Client, knob: dict[str, Any]
) -> None:
    question = {"preset": "linear", "weights": "", "composition": 1, "boost": 1, **knob}
    status, answer = editor_server.post("/ipadapter/weights", question)
    assert status == 200
    assert all("a number from -5 to 5 is needed" in drawn["wrong"] for drawn in answer.values())


@pytest.mark.parametrize("body", ["0:1", ["0:1"], None])
@pytest.mark.parametrize("path", ["weights", "schedule"])
def test_a_question_that_is_none_is_refused(editor_server: Client, path: str, body: Any) -> None:
    status, answer = editor_server.post(f"/ipadapter/{path}", body)
    assert status == 400
    assert "by name are needed" in answer["error"]


def test_while_a_bar_is_dragged_nobody_is_asked(editor: Editor) -> None:
    comfy, mouse = editor.comfy, editor.comfy.page.mouse
    asked = len(comfy.asked)
    mouse.move(*editor.place(2, 1))
    mouse.down()
    for value in (0.75, 0.5, 0.25, 0.2):
        mouse.move(*editor.place(2, value))
        comfy.settle()
        assert editor.values()[2] == value
    assert len(comfy.asked) == asked
    mouse.up()
    comfy.settle()
    assert [json.loads(each)["weights"] for each in comfy.asked[asked:]] == [editor.text()]
    assert editor.values()[2] == 0.2


def test_bars_are_drawn_and_changed_while_the_server_is_silent(editor: Editor) -> None:
    with editor.comfy.silent_server() as held:
        for number, value in ((8, 0.15), (9, -0.35)):
            editor.drag(number, to=value)
            assert editor.values()[number] == value
        expect(editor.root.get_by_role("status")).to_have_text("")
        assert len(held) == 1
    assert editor.values()[8:10] == [0.15, -0.35]
    assert heard_by_transformer(editor.text())[8:10] == [0.15, -0.35]
    editor.draw("SDXL")
    editor.comfy.settle()
    assert "fits SD1.5, not SDXL" in editor.note()


def test_a_text_that_is_not_understood_yet_is_not_lost(comfy: ComfyPage) -> None:
    editor = custom(comfy, "0:0.5")
    with comfy.silent_server():
        comfy.set(editor.node, "weights", "1:1, 2:0.75")
        editor.drag(3, to=0.25)
        editor.choose("Fill the bars", "All 1")
        assert editor.values()[:3] == [0.5, 0, 0]
        expect(editor.root.get_by_role("status")).to_contain_text("the bars are as they were")
        assert editor.text() == "1:1, 2:0.75"
    assert editor.values()[:4] == [0, 1, 0.75, 0]
    assert editor.note() == ""
    editor.drag(3, to=0.25)
    assert editor.text() == "1:1, 2:0.75, 3:0.25"


def test_an_old_answer_does_not_overwrite_a_newer_text(comfy: ComfyPage) -> None:
    editor = custom(comfy, "0:0.5")
    with comfy.silent_server() as held:
        for text in ("7:1", "7:1, 8:1", "7:1, 8:0.65"):
            comfy.set(editor.node, "weights", text)
        assert len(held) == 1
    assert editor.values()[7:9] == [1, 0.65]


def test_what_is_pasted_too_late_does_not_overwrite_a_newer_text(editor: Editor) -> None:
    comfy = editor.comfy
    comfy.page.evaluate("() => navigator.clipboard.writeText('11:0.55')")
    with comfy.silent_server():
        with comfy.page.expect_request(MEANINGS):
            editor.button("Paste").click()
        comfy.set(editor.node, "preset", "composition")
    assert (editor.preset(), editor.text()) == ("composition", "")
    assert editor.values() == factors("composition")


def inside_a_subgraph(comfy: ComfyPage, node: str) -> str:
    """Put the node into a subgraph and open that; the number of the subgraph's node."""
    convert = """async (id) => {
      const { canvas } = window.app;
      const node = canvas.graph.getNodeById(id);
      const { subgraph, node: host } = canvas.graph.convertToSubgraph(new Set([node]));
      canvas.setGraph(subgraph);
      canvas.ds.scale = 1;
      canvas.ds.offset = [240, 120];
      subgraph.nodes[0].pos = [60, 60];
      return String(host.id);
    }"""
    host = comfy.page.evaluate(convert, node)
    comfy.settle()
    return host


def test_inside_a_subgraph(editor: Editor) -> None:
    host = inside_a_subgraph(editor.comfy, editor.node)
    inner = editor.comfy.page.evaluate("() => String(window.app.canvas.graph.nodes[0].id)")
    inside = Editor(editor.comfy, inner)
    inside.drag(3, to=0.25)
    inputs = editor.comfy.prompt()[f"{host}:{inner}"]["inputs"]
    assert heard_by_transformer(inputs["weights"])[3] == 0.25
    saved: dict[str, Any] = editor.comfy.saved()
    editor.comfy.clear()
    editor.comfy.load(saved)
    assert json.dumps(editor.comfy.prompt()[f"{host}:{inner}"]["inputs"]) == json.dumps(inputs)


@pytest.mark.parametrize("scale", [0.5, 1.7])
def test_at_any_zoom(editor: Editor, scale: float) -> None:
    zoom = """(scale) => {
      window.app.canvas.ds.scale = scale;
      window.app.canvas.ds.offset = [240 / scale, 120 / scale];
      window.app.canvas.setDirty(true, true);
    }"""
    editor.comfy.page.evaluate(zoom, scale)
    editor.comfy.settle()
    editor.drag(3, to=0.25)
    assert editor.values()[3] == pytest.approx(0.25, abs=0.051)
    editor.drag(12, to=-0.25)
    assert editor.values()[12] == pytest.approx(-0.25, abs=0.051)


def test_by_touch(editor: Editor) -> None:
    session = editor.comfy.page.context.new_cdp_session(editor.comfy.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", editor.place(3, 0.9))
    for value in (0.7, 0.5, 0.3, 0.25):
        touch("touchMove", editor.place(3, value))
    touch("touchEnd")
    editor.comfy.settle()
    assert editor.values()[3] == 0.25
    editor.bar(8).tap()
    expect(editor.bar(8)).to_have_attribute("data-chosen", "")


def test_the_right_button_changes_nothing(editor: Editor) -> None:
    mouse = editor.comfy.page.mouse
    mouse.move(*editor.place(3, 0.9))
    mouse.down(button="right")
    mouse.move(*editor.place(3, 0.2))
    mouse.up(button="right")
    if editor.comfy.vue:
        menu = editor.comfy.shown(".p-contextmenu")
        expect(menu).to_have_count(1)
        # The host's menu hears no click while it opens.
        editor.comfy.page.wait_for_timeout(500)
        mouse.click(1250, 500)
        expect(menu).to_have_count(0)
    assert editor.text() == ""


def test_weights_promoted_to_the_subgraph_are_changed_there(editor: Editor) -> None:
    comfy = editor.comfy
    comfy.set(editor.node, "preset", "custom")
    host = inside_a_subgraph(comfy, editor.node)
    promote = """() => {
      const { graph } = window.app.canvas;
      graph.inputNode.connectByType(-1, graph.nodes[0], "STRING");
    }"""
    comfy.page.evaluate(promote)
    comfy.settle()
    inner = comfy.page.evaluate("() => String(window.app.canvas.graph.nodes[0].id)")
    assert "through a connection" in Editor(comfy, inner).note()
    write = """(id) => {
      const host = window.app.rootGraph.getNodeById(id);
      host.widgets.find((each) => each.name === "weights").value = "4:0.5";
    }"""
    comfy.page.evaluate(write, host)
    assert comfy.prompt()[f"{host}:{inner}"]["inputs"]["weights"] == "4:0.5"


def test_wheel_and_middle_button_zoom_and_move_the_canvas(editor: Editor) -> None:
    mouse, evaluate = editor.comfy.page.mouse, editor.comfy.page.evaluate
    before = evaluate("() => [...window.app.canvas.ds.offset]")
    mouse.move(*editor.place(3, 0.9))
    mouse.down(button="middle")
    mouse.move(*editor.place(6, 0.2), steps=3)
    mouse.up(button="middle")
    editor.comfy.settle()
    after = evaluate("() => [...window.app.canvas.ds.offset]")
    assert after[0] > before[0] + 20
    assert after[1] > before[1] + 20
    mouse.wheel(0, -300)
    editor.comfy.settle()
    assert evaluate("() => window.app.canvas.ds.scale") > 1
    assert editor.text() == ""


def test_the_way_of_drawing_may_change_at_any_time(editor: Editor) -> None:
    comfy = editor.comfy
    editor.drag(3, to=0.25)
    change = "(vue) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', vue)"
    for vue in (not comfy.vue, comfy.vue):
        comfy.page.evaluate(change, vue)
        comfy.page.wait_for_timeout(300)
        expect(comfy.shown(EDITOR)).to_have_count(1)
        assert editor.values()[3] == 0.25
        editor.drag(3, to=0.5)
        editor.drag(3, to=0.25)
    assert heard_by_transformer(editor.text())[3] == 0.25


def test_a_folded_node_unfolds_with_its_editor(editor: Editor) -> None:
    fold = "(id) => window.app.graph.getNodeById(id).collapse()"
    editor.comfy.page.evaluate(fold, editor.node)
    editor.comfy.settle()
    expect(editor.comfy.shown(EDITOR)).to_have_count(0)
    editor.comfy.page.evaluate(fold, editor.node)
    editor.comfy.settle()
    editor.drag(3, to=0.25)
    assert editor.values()[3] == 0.25


def test_the_keyboard_stays_where_it_was_through_undo(comfy: ComfyPage) -> None:
    editor = custom(comfy, "6:1")
    editor.draw("SDXL")
    editor.bar(6).focus()
    comfy.press("Enter")
    comfy.press("ArrowRight")
    comfy.press("PageDown")
    assert editor.values()[:2] == [1, 0.75]
    comfy.press("Control+z")
    expect(editor.bar(1)).to_have_attribute("aria-valuenow", "1")
    expect(editor.bar(1)).to_be_focused()
    assert len(editor.values()) == 10


def test_undo_and_redo_by_keys_that_are_let_go_of_on_a_bar(comfy: ComfyPage) -> None:
    second = beside_another(comfy)
    second.bar(2).focus()
    comfy.press("ArrowUp")
    changed, raised = second.text(), second.values()[2]
    for _ in range(2):
        hold(comfy, "Control", "z")
        expect(second.bar(2)).to_have_attribute("aria-valuenow", "0")
        expect(second.bar(2)).to_be_focused()
        hold(comfy, "Control", "y")
        expect(second.bar(2)).to_have_attribute("aria-valuenow", f"{raised:g}")
        expect(second.bar(2)).to_be_focused()
    assert second.text() == changed


def test_what_does_not_change_a_bar_takes_redo_away_from_nobody(comfy: ComfyPage) -> None:
    second = beside_another(comfy)
    second.bar(2).focus()
    comfy.press("ArrowUp")
    hold(comfy, "Control", "z")
    expect(second.bar(2)).to_have_attribute("aria-valuenow", "0")
    expect(second.bar(2)).to_be_focused()
    comfy.press("ArrowLeft")
    second.bar(0).focus()
    assert second.values()[0] == 0
    second.root.get_by_label("Weight of the chosen bar").fill("0")
    comfy.press("Enter")
    expect(second.bar(0)).to_be_focused()
    hold(comfy, "Control", "y")
    expect(second.bar(2)).not_to_have_attribute("aria-valuenow", "0")


def test_undo_and_redo_after_another_workflow_was_looked_at(comfy: ComfyPage) -> None:
    second = beside_another(comfy)
    comfy.look_elsewhere()
    second.bar(2).focus()
    comfy.press("ArrowUp")
    hold(comfy, "Control", "z")
    expect(second.bar(2)).to_have_attribute("aria-valuenow", "0")
    expect(second.bar(2)).to_be_focused()
    hold(comfy, "Control", "y")
    expect(second.bar(2)).not_to_have_attribute("aria-valuenow", "0")


def test_a_keyboard_that_has_left_is_not_called_back(editor: Editor) -> None:
    editor.bar(3).focus()
    editor.comfy.press("PageDown")
    editor.bar(3).blur()
    editor.comfy.press("Control+z")
    expect(editor.bar(3)).to_have_attribute("aria-valuenow", "1")
    expect(editor.bar(3)).not_to_be_focused()


def test_undo_inside_a_subgraph(editor: Editor) -> None:
    comfy = editor.comfy
    inside_a_subgraph(comfy, editor.node)
    comfy.capture()
    inner = comfy.page.evaluate("() => String(window.app.canvas.graph.nodes[0].id)")
    inside = Editor(comfy, inner)
    inside.drag(3, to=0.25)
    comfy.press("Control+z")
    expect(inside.bar(3)).to_have_attribute("aria-valuenow", "1")
    inside.drag(9, to=0.5)
    assert heard_by_transformer(inside.text())[9] == 0.5


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_contrast(editor: Editor, theme: str) -> None:
    comfy = editor.comfy
    choose = "(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)"
    comfy.page.evaluate(choose, theme)
    comfy.page.wait_for_timeout(300)
    editor.bar(3).focus()
    comfy.press("ArrowRight")
    measure = """(root) => {
      const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      const channels = (colour) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].map((each) => each / 255);
      };
      const light = (colour) => {
        const [r, g, b, a] = channels(colour);
        if (a < 0.99) throw new Error(`${colour} is not opaque`);
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
      };
      const ratio = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      };
      const style = (selector) => getComputedStyle(root.querySelector(selector));
      const back = getComputedStyle(root).backgroundColor;
      const behind = style(".ipa-bars").backgroundColor;
      return {
        text: ratio(getComputedStyle(root).color, behind),
        bar: ratio(style(".ipa-bar > i").backgroundColor, behind),
        border: ratio(style("button").borderColor, back),
        chosen: ratio(style("select").color, back),
        ring: ratio(style(".ipa-bar:focus-visible").outlineColor, behind),
        width: parseFloat(style(".ipa-bar:focus-visible").outlineWidth),
      };
    }"""
    found = editor.root.evaluate(measure)
    comfy.page.evaluate(choose, "dark")
    assert min(found["text"], found["chosen"]) >= 4.5
    assert min(found["bar"], found["border"], found["ring"]) >= 3
    assert found["width"] >= 2
