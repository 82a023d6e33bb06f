// Numbers of the page as tensors of ONNX Runtime, by the element types of model.json.

const KINDS = {
    f32: ["float32", Float32Array],
    f64: ["float64", Float64Array],
    i64: ["int64", BigInt64Array],
    i32: ["int32", Int32Array],
    u32: ["uint32", Uint32Array],
    i8: ["int8", Int8Array],
    u8: ["uint8", Uint8Array],
    bool: ["bool", Uint8Array],
};
const LIMITS = {
    i64: [-(2 ** 53), 2 ** 53],
    i32: [-(2 ** 31), 2 ** 31 - 1],
    u32: [0, 2 ** 32 - 1],
    i8: [-128, 127],
    u8: [0, 255],
    bool: [0, 1],
};

// A tensor of these numbers. Throws what does not fit, in words for the person at the page.
export function tensor(ort, input, numbers, dims) {
    const [type, Numbers] = KINDS[input.dtype];
    const limits = input.range ?? LIMITS[input.dtype];
    const data = new Numbers(numbers.length);
    for (let i = 0; i < numbers.length; i++) {
        const number = numbers[i];
        if (!Number.isFinite(number)) throw new Error(`${input.name} takes numbers`);
        if (limits && (!Number.isInteger(number) || number < limits[0] || number > limits[1])) {
            throw new Error(`${input.name} takes whole numbers from ${limits[0]} to ${limits[1]}, and ${number} is none`);
        }
        data[i] = type === "int64" ? BigInt(number) : number;
    }
    return new ort.Tensor(type, data, dims);
}

// The numbers of a tensor, whatever its type.
export function numbersOf(tensor) {
    return Array.from(tensor.data, Number);
}

// Scores as shares of one: as they are where they are that already, else their softmax.
export function shares(scores) {
    const sum = scores.reduce((a, b) => a + b, 0);
    if (scores.every((score) => score >= 0) && Math.abs(sum - 1) < 1e-3) return scores;
    const most = Math.max(...scores);
    const raised = scores.map((score) => Math.exp(score - most));
    const all = raised.reduce((a, b) => a + b, 0);
    return raised.map((one) => one / all);
}
