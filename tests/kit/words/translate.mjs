/** Reads {table, texts} from the standard input, and writes the texts translated. */

import { readFileSync } from "node:fs";
import { speak, translated } from "../../../web/words/spoken.js";

const { table, texts } = JSON.parse(readFileSync(0, "utf-8"));
speak(table);
process.stdout.write(JSON.stringify(texts.map(translated)));
