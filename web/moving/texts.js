// @ts-check
/** What the command says, in the languages of the pack; no app, no DOM. */

/** @type {Record<string, Record<string, string>>} */
const TEXTS = {
  en: {
    nodes: "Turn into IP-Adapter nodes",
    graph: "Turn all old nodes into IP-Adapter nodes",
    title: "IP-Adapter nodes",
    turned: "{} turned into nodes of this pack.",
    none: "There are no nodes of ComfyUI_IPAdapter_plus here.",
    left: "These stay as they are:",
    failed: "Nothing was changed: {}",
    faces: "faces are found and cut out in another way here",
    tiles: "its tiles are cut in another way here",
    enhancer: "its closer look is another one here",
    regions: "its settings for regions have no counterpart in one node",
    files: "its files lie in another folder; Save Embeds and Load Embeds are ours",
    frames: "its lists of weights are for old nodes",
    noise: "its noise makes another negative picture here",
    mask: "its mask is applied in another way here",
    sizes: "it fits several pictures to the first one",
    normAverage: "norm average of one picture is not that picture here; join them with Batch Images",
    negativeCount: "how many pictures image_negative has cannot be told",
    emptyWindow: "start_at is not before end_at, so nothing is heard",
    noWeight: "the boost does not depend on the weight, which is 0",
    largeBoost: "the boost is more than 5 times the weight",
    preciseList: "layer_weights with a precise type turn layers around",
    layers: "layer_weights name layers that the model may not have",
    onlySdxl: "expand_style is known for SDXL only, and the base model cannot be told",
    unknownValue: "{} has an unknown value",
    linkedValue: "{} comes by a link and may be a list",
    promoted: "{} is set outside, on the subgraph's node",
    notLinked: "{} is not connected",
    noEncoder: "no image encoder is connected",
    noNegative: "neg_embed is not connected",
    foreignAdapter: "its adapter comes from {}, which does not say what it loads",
    strangerBehind: "{} needs the old adapter",
    embedsBehind: "{}, which takes its embeds, stays",
    embedsBefore: "embeds that it mixes come from nodes that stay",
    nothingBehind: "no node behind it can be turned",
    noBase: "the base model cannot be told from the graph",
    otherBase: "the base model is neither SD1.5 nor SDXL",
    noAnswer: "the server does not answer",
    bypassed: "it is bypassed and hands an adapter through",
    notLoaded: "the node is not loaded",
    said: "{}",
  },
  zh: {
    nodes: "转换为 IP-Adapter 节点",
    graph: "将所有旧节点转换为 IP-Adapter 节点",
    title: "IP-Adapter 节点",
    turned: "已将 {} 个节点转换为本节点包的节点。",
    none: "这里没有 ComfyUI_IPAdapter_plus 的节点。",
    left: "以下节点保持不变：",
    failed: "未作任何更改：{}",
    faces: "此处检测和裁剪人脸的方式不同",
    tiles: "此处切分图块的方式不同",
    enhancer: "此处的细节增强方式不同",
    regions: "它的区域设置没有对应的单个节点",
    files: "文件位于另一个文件夹；请使用本包的 Save Embeds 和 Load Embeds",
    frames: "它的权重列表用于旧节点",
    noise: "它的噪声在此处会得到不同的负面图像",
    mask: "此处应用遮罩的方式不同",
    sizes: "它会将多张图像调整为第一张的大小",
    normAverage: "单张图像的 norm average 在此处不等于图像本身；请用批次图像节点合并",
    negativeCount: "无法得知 image_negative 有多少张图像",
    emptyWindow: "start_at 不早于 end_at，因此没有任何作用",
    noWeight: "weight 为 0，而 boost 不随其变化",
    largeBoost: "boost 超过 weight 的 5 倍",
    preciseList: "layer_weights 与 precise 类型一起使用时会反转层",
    layers: "layer_weights 指定了模型可能没有的层",
    onlySdxl: "expand_style 仅适用于 SDXL，而无法得知基础模型",
    unknownValue: "{} 的值未知",
    linkedValue: "{} 来自连接，可能是列表",
    promoted: "{} 在子图节点上设置",
    notLinked: "{} 未连接",
    noEncoder: "未连接图像编码器",
    noNegative: "neg_embed 未连接",
    foreignAdapter: "适配器来自 {}，无法得知其加载的内容",
    strangerBehind: "{} 需要旧的适配器",
    embedsBehind: "使用其嵌入的 {} 保持不变",
    embedsBefore: "它混合的嵌入来自保持不变的节点",
    nothingBehind: "它之后没有可以转换的节点",
    noBase: "无法从工作流得知基础模型",
    otherBase: "基础模型既不是 SD1.5 也不是 SDXL",
    noAnswer: "服务器没有响应",
    bypassed: "它已被绕过并传递适配器",
    notLoaded: "节点未加载",
    said: "{}",
  },
  ru: {
    nodes: "Превратить в ноды IP-Adapter",
    graph: "Превратить все старые ноды в ноды IP-Adapter",
    title: "Ноды IP-Adapter",
    turned: "Превращено в ноды этого набора: {}.",
    none: "Здесь нет нод ComfyUI_IPAdapter_plus.",
    left: "Остаются как есть:",
    failed: "Ничего не изменено: {}",
    faces: "лица здесь находятся и вырезаются иначе",
    tiles: "плитки здесь режутся иначе",
    enhancer: "подробный взгляд здесь устроен иначе",
    regions: "для его настроек областей нет одной ноды",
    files: "файлы лежат в другой папке; у нас есть Save Embeds и Load Embeds",
    frames: "его списки весов — для старых нод",
    noise: "его шум даёт здесь другое негативное изображение",
    mask: "маска здесь применяется иначе",
    sizes: "он подгоняет несколько изображений под первое",
    normAverage: "norm average одного изображения здесь не равно ему самому; объедините их в пакет",
    negativeCount: "неизвестно, сколько изображений в image_negative",
    emptyWindow: "start_at не раньше end_at, поэтому ничего не слышно",
    noWeight: "boost не зависит от weight, который равен 0",
    largeBoost: "boost больше weight более чем в 5 раз",
    preciseList: "layer_weights с типом precise переворачивают слои",
    layers: "layer_weights называют слои, которых у модели может не быть",
    onlySdxl: "expand_style известно только для SDXL, а базовая модель неизвестна",
    unknownValue: "у {} неизвестное значение",
    linkedValue: "{} приходит по связи и может быть списком",
    promoted: "{} задаётся снаружи, на ноде подграфа",
    notLinked: "{} не подключено",
    noEncoder: "кодировщик изображений не подключён",
    noNegative: "neg_embed не подключено",
    foreignAdapter: "адаптер приходит от {}, и неизвестно, что там загружено",
    strangerBehind: "{} нужен старый адаптер",
    embedsBehind: "{}, куда идут его эмбеды, остаётся",
    embedsBefore: "эмбеды, которые он смешивает, идут от остающихся нод",
    nothingBehind: "за ним нет нод, которые можно превратить",
    noBase: "базовую модель нельзя определить по графу",
    otherBase: "базовая модель — не SD1.5 и не SDXL",
    noAnswer: "сервер не отвечает",
    bypassed: "он обойдён и передаёт адаптер дальше",
    notLoaded: "нода не загружена",
    said: "{}",
  },
};

export const LANGUAGES = Object.keys(TEXTS);

/**
 * A text in a language of the host, English where there is none.
 * @param {string} language
 * @param {string} key
 * @param {string | number} [what] goes into its gap
 */
export function text(language, key, what = "") {
  const own = TEXTS[language.split("-")[0]] ?? TEXTS.en;
  return (own[key] ?? TEXTS.en[key] ?? key).replace("{}", () => `${what}`);
}

/** All keys of a language. @param {string} language */
export function keys(language) {
  return Object.keys(TEXTS[language]);
}

/**
 * What stays, one line for each reason.
 * @param {string} language
 * @param {{ title: string, why: string, what: string }[]} left
 * @returns {string[]}
 */
export function leftLines(language, left) {
  /** @type {Map<string, number>} */
  const counted = new Map();
  for (const { title, why, what } of left) {
    const line = `${title}: ${text(language, why, what)}`;
    counted.set(line, (counted.get(line) ?? 0) + 1);
  }
  return [...counted].map(([line, times]) => (times > 1 ? `${times} × ${line}` : line));
}
