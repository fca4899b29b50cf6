"""The law of saved workflows: what a node had in a version, later versions may add to, not change.

A workflow saves the values of widgets by their places and links to outputs by their numbers; a
program names inputs and options. So inputs and outputs are API from the day they land.
"""

from __future__ import annotations

from typing import Any

Kept = dict[str, Any]
LAW = "API from the day they land: append, never change"


def kept(info: dict[str, Any]) -> Kept:
    """What of a node, as the server tells it, no later version may change."""
    inputs: list[Kept] = []
    for group in ("required", "optional"):
        for name, (kind, options) in info["input"].get(group, {}).items():
            entry: Kept = {"name": name, "type": kind, "required": group == "required"}
            told = ("default", "min", "max", "step", "options", "control_after_generate")
            entry |= {key: options[key] for key in told if key in options}
            if "template" in options:
                entry["template"] = grown(options["template"])
            inputs.append(entry)
    outputs = [
        {"name": name, "type": kind}
        for name, kind in zip(info["output_name"], info["output"], strict=True)
    ]
    return {"inputs": inputs, "outputs": outputs, "output_node": info["output_node"]}


def grown(template: dict[str, Any]) -> Kept:
    """What an input that grows says of its parts."""
    (part,) = (pair for group in template["input"].values() for pair in group.items())
    return {
        "prefix": template["prefix"],
        "min": template["min"],
        "max": template["max"],
        "type": part[1][0],
    }


def broken(old: dict[str, Kept], new: dict[str, Kept]) -> list[str]:
    """Where the nodes of now break workflows saved with those of then, a sentence each."""
    found: list[str] = []
    for node, before in old.items():
        if node not in new:
            found.append(f"the node {node} is gone")
            continue
        faults = [
            *inputs_broken(before["inputs"], new[node]["inputs"]),
            *outputs_broken(before["outputs"], new[node]["outputs"]),
        ]
        if before["output_node"] and not new[node]["output_node"]:
            faults.append("it no longer runs by itself")
        found += [f"{node}: {fault}" for fault in faults]
    return [f"{fault}. {LAW}" for fault in found]


def inputs_broken(old: list[Kept], new: list[Kept]) -> list[str]:
    found: list[str] = []
    for place, before in enumerate(old):
        name = before["name"]
        places = [number for number, one in enumerate(new) if one["name"] == name]
        if not places:
            found.append(f"the input {name} is gone")
        elif places[0] != place:
            found.append(f"the input {name} was at place {place} and is at {places[0]}")
        else:
            found += [f"the input {name} {fault}" for fault in changed(before, new[place])]
    known = {one["name"] for one in old}
    found += [
        f"the new input {one['name']} is required, which old prompts lack"
        for one in new
        if one["required"] and one["name"] not in known
    ]
    return found


def changed(before: Kept, after: Kept) -> list[str]:
    """How an input breaks what was saved for it; it may take more than it did."""
    found: list[str] = []
    for key in ("type", "default", "step", "control_after_generate"):
        if before.get(key) != after.get(key):
            found.append(f"had the {key} {before.get(key)} and has {after.get(key)}")
    if after["required"] and not before["required"]:
        found.append("was optional and is required")
    lost = [one for one in before.get("options", []) if one not in after.get("options", [])]
    if lost:
        found.append(f"no longer offers {', '.join(map(str, lost))}")
    ranges = [(before, after)]
    if "template" in before:
        then, now = before["template"], after.get("template", {})
        if any(then[key] != now.get(key) for key in ("prefix", "type")):
            found.append(f"grew by {then} and grows by {now}")
            return found
        ranges.append((then, now))
    for then, now in ranges:
        if "min" in then and now.get("min", then["min"]) > then["min"]:
            found.append(f"went down to {then['min']} and now stops at {now['min']}")
        if "max" in then and now.get("max", then["max"]) < then["max"]:
            found.append(f"went up to {then['max']} and now stops at {now['max']}")
    return found


def outputs_broken(old: list[Kept], new: list[Kept]) -> list[str]:
    found: list[str] = []
    for place, before in enumerate(old):
        after = new[place] if place < len(new) else None
        if after != before:
            now = f"{after['name']} ({after['type']})" if after else "none"
            found.append(f"output {place} was {before['name']} ({before['type']}) and is {now}")
    return found
