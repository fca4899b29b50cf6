"""Old forms of old nodes: rules that the queue applies to prompts and the editor to graphs."""
