"""The way back from a mistake: the sentence on the node that failed, and its buttons."""

from __future__ import annotations

import published
from comfy_page import RUN, ComfyPage
from kit.models.checkpoints import load_table
from kit.models.sparse_files import write_sparse
from kit.server.live import Client
from playwright.sync_api import Locator, expect

FACE = "ip-adapter-faceid_sd15.safetensors"
FAILURE = '[data-ipadapter="failure"]'
ABOUT = '[data-ipadapter="about"]'
WARNING = '[data-ipadapter="warning"]'
SPREAD = """() => {
  for (const [at, node] of window.app.canvas.graph._nodes.entries()) {
    node.pos = [-160 + (at % 4) * 340, Math.floor(at / 4) * 420];
  }
}"""
COVER = """async ([above, below]) => {
  const [one, other] = [above, below].map((id) => window.app.graph.getNodeById(id));
  one.pos = [other.pos[0], other.pos[1] + 20];
  one.setSize([...other.size]);
  window.app.canvas.setDirty(true, true);
  await new Promise((done) => setTimeout(done, 300));
}"""
FITS = """(note) => [note.scrollHeight - note.clientHeight, note.scrollWidth - note.clientWidth]"""


def failure(comfy: ComfyPage, words: str) -> Locator:
    note = comfy.shown(FAILURE).filter(has_text=words)
    expect(note).to_have_count(1)
    for _ in range(20):  # it grows in the frames after it is shown
        comfy.settle()
        down, right = note.evaluate(FITS)
        if down <= 1 and right <= 1:
            break
    assert down <= 1 and right <= 1  # nothing of it has to be scrolled
    return note


def saving(comfy: ComfyPage) -> tuple[str, str]:
    """A picture that is encoded and saved under a name that may be taken."""
    photo = comfy.add("LoadImage", image="reference.jpg")
    encoder = comfy.add("IPADemoCLIPVision")
    encode = comfy.add("IPAEncodeImage")
    name = f"mending {'vue' if comfy.vue else 'canvas'}"
    save = comfy.add("IPASaveEmbeds", name=name, if_exists="replace")
    for source, target, slot in (
        (photo, encode, "image"),
        (encoder, encode, "clip_vision"),
        (encode, save, "embeds"),
    ):
        comfy.connect(source, target, slot)
    return encode, save


def test_a_failed_run_is_mended_by_a_button(comfy: ComfyPage, editor_server: Client) -> None:
    encode, save = saving(comfy)
    comfy.run()
    expect(comfy.shown(ABOUT)).to_have_count(2)
    comfy.set(save, "if_exists", "stop")
    comfy.set(encode, "fit", "pad")  # what is saved already would not be written again
    assert "exists already" in comfy.page.evaluate(RUN)
    note = failure(comfy, "exists already and if_exists is stop")
    expect(comfy.shown(ABOUT)).to_have_count(1)  # that of the run before is gone
    # The node has grown under another one.
    comfy.page.evaluate(COVER, [comfy.add("ImageInvert"), save])
    expect(note).to_have_count(1)
    note.get_by_role("button", name="set if_exists to keep both").click()
    expect(note).to_have_count(0)
    assert comfy.widgets(save)["if_exists"] == "keep both"
    expect(comfy.shown(ABOUT)).to_have_count(2)
    comfy.press("Control+z")
    failure(comfy, "exists already and if_exists is stop")
    # It is mended elsewhere too: the run gets past the node.
    for taken in (editor_server.base / "models" / "ipadapter_embeds").glob("mending *"):
        taken.unlink()
    comfy.run()
    expect(note).to_have_count(0)


def test_what_is_missing_is_connected_by_a_button(comfy: ComfyPage) -> None:
    photo = comfy.add("LoadImage", image="reference.jpg")
    prepare = comfy.add("IPAPrepareImage", fit="crop face")
    end = comfy.add("PreviewImage")
    comfy.connect(photo, prepare, "image")
    comfy.connect(prepare, end, "images")
    assert "face_models is not connected" in comfy.page.evaluate(RUN)
    note = failure(comfy, "face_models is not connected")
    note.get_by_role("button", name="connect Load Face Models").click()
    expect(note).to_have_count(0)
    link = comfy.prompt()[prepare]["inputs"]["face_models"][0]
    assert comfy.prompt()[link]["class_type"] == "IPALoadFaceModels"


def test_a_refused_prompt_says_so_on_the_node(comfy: ComfyPage) -> None:
    loader = comfy.add("IPALoadAdapter", adapter_file="elsewhere/tiny.safetensors")
    checkpoint, apply = comfy.add("IPADemoCheckpoint"), comfy.add("IPAApply")
    encoder, encode = comfy.add("IPADemoCLIPVision"), comfy.add("IPAEncodeImage")
    photo, save = comfy.add("LoadImage", image="reference.jpg"), comfy.add("IPASaveEmbeds")
    for source, target, slot in (
        (photo, encode, "image"),
        (encoder, encode, "clip_vision"),
        (encode, save, "embeds"),
        (loader, save, "adapter"),
        (checkpoint, apply, "model"),
    ):
        comfy.connect(source, target, slot)
    comfy.page.evaluate(SPREAD)
    assert comfy.page.evaluate(RUN) == "refused"
    comfy.complaints.clear()  # of the browser, about the answer 400
    note = failure(comfy, "is not in")
    note.get_by_role("button", name="use tiny").click()
    expect(note).to_have_count(0)
    assert comfy.widgets(loader)["adapter_file"] == "tiny.safetensors"


def test_a_warning_has_the_button_too(comfy: ComfyPage, editor_server: Client) -> None:
    models = editor_server.base / "models"
    before = set(models.rglob("*"))
    published.write(models)
    write_sparse(models / "ipadapter" / FACE, load_table("ip-adapter-faceid_sd15").tensors)
    comfy.page.evaluate("() => window.app.refreshComboInNodes()")
    checkpoint = comfy.add("CheckpointLoaderSimple", ckpt_name=published.CHECKPOINT_SD1)
    loader = comfy.add("IPALoadAdapter", adapter_file="ip-adapter-plus_sdxl_vit-h.safetensors")
    apply = comfy.add("IPAApply")
    comfy.connect(checkpoint, apply, "model")
    comfy.connect(loader, apply, "adapter")
    comfy.page.locator("body").dispatch_event("click")
    warning = comfy.shown(WARNING)
    warning.get_by_role("button", name="use ip-adapter-plus_sd15").click()
    expect(warning).to_have_count(0)
    assert comfy.widgets(loader)["adapter_file"] == "ip-adapter-plus_sd15.safetensors"
    photo, encode = comfy.add("LoadImage", image="reference.jpg"), comfy.add("IPAEncodeImage")
    comfy.connect(photo, encode, "image")
    comfy.connect(encode, apply, "embeds")
    comfy.set(loader, "adapter_file", FACE)
    comfy.page.evaluate(SPREAD)
    comfy.page.locator("body").dispatch_event("click")
    warning.get_by_role("button", name="connect Encode Face").click()
    expect(warning).to_have_count(0)
    prompt = comfy.prompt()
    face = prompt[prompt[apply]["inputs"]["embeds"][0]]
    assert face["class_type"] == "IPAEncodeFace" and face["inputs"]["image"][0] == photo
    assert prompt[face["inputs"]["face_models"][0]]["class_type"] == "IPALoadFaceModels"
    for path in set(models.rglob("*.safetensors")) - before:
        path.unlink()
