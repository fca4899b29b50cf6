/** A graph as the editor holds it, from nodes with links written as "id:slot". */
export function graph(nodes, outputs = {}) {
  const links = new Map();
  const made = { links, getLink: (id) => links.get(id) };
  const link = (text) => {
    const [origin_id, slot] = text.split(":");
    links.set(links.size + 1, { origin_id, origin_slot: Number(slot) });
    return links.size;
  };
  made.nodes = Object.entries(nodes).map(([id, node]) => ({
    id,
    mode: 0,
    graph: made,
    ...node,
    comfyClass: node.type,
    inputs: Object.entries(node.inputs ?? {}).map(([name, [type, from, widget]]) => ({
      name,
      type,
      link: from ? link(from) : null,
      ...(widget ? { widget: { name: widget } } : {}),
    })),
    widgets: Object.entries(node.widgets ?? {}).map(([name, value]) => ({ name, value })),
  }));
  made.getNodeById = (id) => made.nodes.find((node) => node.id === String(id));
  made.outputs = Object.values(outputs).map((text) => ({ linkIds: [link(text)] }));
  return made;
}
