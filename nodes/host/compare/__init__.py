"""Pictures of what a reference does: attention maps, labelled sheets."""
