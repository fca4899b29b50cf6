"""What other packs do, written anew in a few lines each; met in every run of the tests.

Who does it is said with each. The laws are those of the pilots: regions are one layer with more
rows, tiles are pictures of their own, and the reference is added where a layer's result leaves it.
"""
