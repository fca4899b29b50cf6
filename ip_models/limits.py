"""How much a file, prompt, request or text may ask for: every limit of the pack, in one table.

Each is far above anything published, so that nobody meets it by honest means, and low enough that
whatever stays below it costs no more than a small multiple of its own size.
"""

from __future__ import annotations

# What a user reads.
MESSAGE = 500  # characters of an error; the longest of ours without a name has some 400

# Headers and tables of model files, JSON settings beside them, pickles of torch.
HEADER_BYTES = 8 * 2**20  # a whole SDXL checkpoint describes itself in 0.4 MB
ELEMENTS = 500_000  # of a header, settings or pickle; a whole SDXL checkpoint has some 120,000
OPERATIONS = 250_000  # of a pickle; a whole SDXL checkpoint has some 115,000
ARCHIVE_BYTES = 4 * 2**20  # of torch's tables, zip's or pickled; a whole SDXL checkpoint has 0.5 MB
TENSORS = 20_000  # of a file; a whole SDXL checkpoint has some 2,500
TABLES = 65_000  # lists and objects of a JSON text; three for each tensor of a header
DEPTH = 32  # of tables inside tables; a training's state has 5
TENSOR_NAME = 512  # characters; the longest published one has some 120
RANK = 8  # dimensions of a tensor; a convolution over video has 5
SIZE = 2**24  # of one dimension; a vocabulary of a text model has 2**18
PARTS = 64  # files into which one model may be cut; published are up to 20
SHARED = 2  # times the size of its file that all tensors of it together may have
BASE_TENSORS = 10_000  # of a base model's file; published are up to 2,500
BLOCKS = 512  # of a base model, by the number in a tensor's name; published are up to 80
GGUF_TEXTS = 20_000  # of a list in the notes of a GGUF file; those of a base model have none
SIBLINGS = 12  # files beside a part of a training that are looked at for its weights
CACHED_TENSORS = 200_000  # whose shapes are remembered, of all files together
EMBEDS_HEADER_BYTES = 2**20  # of a file of embeds, which has a few tensors

# Networks of faces, in ONNX files.
ONNX_FIELDS = 50_000  # of a message; the graph of a face model has some 1,000
ONNX_NUMBERS = 200_000  # bytes of a list of whole numbers; a shape has 20
ONNX_NODES = 2_000  # operations of a graph; a face model has some 350
ONNX_PARTS = 100_000  # nodes, weights and attributes together; a face model has some 2,500
ONNX_RANK = 16  # dimensions of a weight; those of face models have 4
ONNX_FOLDED = 2**20  # numbers that are worked out when a network is loaded; a face model has 100
ONNX_RESULT = 2**28  # numbers of one result, in memory of which shapes alone are made before
ONNX_SIDE = 2**16  # of a result that is enlarged; pictures are searched at up to 1280
ONNX_LIVE = 600  # numbers held at once, for each of the input; a published recogniser holds 100
ONNX_MADE = 10_000  # numbers made in a run, for each of the input; a recogniser makes 700
ONNX_PRODUCTS = 2_000_000  # for each number of the input; a recogniser multiplies 330,000

# Face models.
FACE_SIDE = 1024  # pixels of a crop that a recogniser takes; published are 112

# Texts of widgets.
FILE_NAME = 1000  # bytes of a name to save under, with its folders; Linux takes 4096 of a path
FILE_NAME_PART = 200  # of each part, to which a number and an ending are added; all take 255

# Pictures cut into tiles, each a reference of its own.
TILES_IN_A_ROW = 16
TILE_MASK_SIDE = 512  # pixels of their masks; the finest grid of a layer has 128, Flux' some 256

# Sheets of pictures.
SHEET_PICTURES = 400
SHEET_PIXELS = 2**26  # of all cells together; larger pictures are shrunk
SWEEP = 400  # settings of a sweep, for each of which the graph runs

# Lists of numbers that come by a link.
LISTED_NUMBERS = 1_000_000  # one for each picture of a batch; an hour of video has 216,000

# Nodes that load by themselves.
HELD_FINDS = 4  # adapters, with encoder and face models, that stay loaded while their MODEL does

# Prompts.
CHAIN = 800  # nodes in a row; the host can walk back some 970, workflows have up to 100

# Attention maps.
VIEWED_RUNS = 8  # kept of a MODEL that is looked at; samplers in a row take one each
VIEWED_CALLS = 16  # of different tiles or windows whose sums stay on the device
VIEWED_NUMBERS = 512  # of a latent, by which its run is known again

# What the editor asks the server.
READING_THREADS = 2  # for questions about files, whose answer a disk may keep waiting
THINKING_THREADS = 1  # for pictures of weights and schedules, a few milliseconds each
WAITING_REQUESTS = 64  # for each sort of threads; a browser has six connections
REQUEST_SECONDS = 60  # for an answer; Doctor takes some 2 seconds for a first look at 200 files
QUERY = 8000  # characters; five names of 200 have at most 3,000
QUESTION_PARTS = 20_000  # lists and objects; weights of 50 references have some 100
QUESTION_BYTES = 2**20  # of weights or a graph; a schedule of 50,000 frames has some 900,000
