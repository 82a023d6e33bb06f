// From what was drawn to the pixels that a network of handwritten signs knows: as MNIST was made, the ink is brought to
// one size and into the middle.

// The grey values of a canvas: 0 for white, 1 for black, what is transparent counting as white.
export function darkness(canvas) {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
    const found = new Float64Array(width * height);
    for (let i = 0; i < found.length; i++) {
        const light = (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255;
        found[i] = (1 - light) * (data[4 * i + 3] / 255);
    }
    return { values: found, width, height };
}

// One channel of a canvas, from 0 to 1.
export function channel(canvas, number) {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
    const found = new Float64Array(width * height);
    for (let i = 0; i < found.length; i++) found[i] = data[4 * i + number] / 255;
    return { values: found, width, height };
}

// The mean of each cell of rows x columns over a part of the picture: left, top, and the size of a cell. What lies
// outside of the picture is 0.
export function averaged(picture, rows, columns, left, top, cellWidth, cellHeight) {
    const { values, width, height } = picture;
    const sums = new Float64Array((width + 1) * (height + 1)); // of everything above and to the left
    for (let y = 0; y < height; y++) {
        let row = 0;
        for (let x = 0; x < width; x++) {
            row += values[y * width + x];
            sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row;
        }
    }
    const until = (x, y) => {
        const px = Math.min(Math.max(x, 0), width);
        const py = Math.min(Math.max(y, 0), height);
        const x0 = Math.min(Math.floor(px), width - 1);
        const y0 = Math.min(Math.floor(py), height - 1);
        const [fx, fy] = [px - x0, py - y0];
        const at = y0 * (width + 1) + x0;
        const above = sums[at] * (1 - fx) + sums[at + 1] * fx;
        const below = sums[at + width + 1] * (1 - fx) + sums[at + width + 2] * fx;
        return above * (1 - fy) + below * fy;
    };
    const found = new Float64Array(rows * columns);
    for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
            const [x0, x1] = [left + c * cellWidth, left + (c + 1) * cellWidth];
            const [y0, y1] = [top + r * cellHeight, top + (r + 1) * cellHeight];
            const sum = until(x1, y1) - until(x0, y1) - until(x1, y0) + until(x0, y0);
            found[r * columns + c] = Math.min(1, Math.max(0, sum / (cellWidth * cellHeight)));
        }
    }
    return found;
}

// The ink at one size and in the middle of rows x columns: its box takes 20 of 28 parts with its centre of mass in the
// middle, as in MNIST; in pictures of fewer than 16 pixels, which have no room for a margin, all of it. Without ink null.
export function fitted(ink, rows, columns) {
    const { values, width, height } = ink;
    let [left, right, top, bottom, mass, massX, massY] = [width, -1, height, -1, 0, 0, 0];
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            const value = values[y * width + x];
            if (value < 0.05) continue;
            [left, right] = [Math.min(left, x), Math.max(right, x)];
            [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
            mass += value;
            massX += value * (x + 0.5);
            massY += value * (y + 0.5);
        }
    }
    if (right < 0) return null;
    const roomy = Math.min(rows, columns) >= 16;
    const room = roomy ? 20 / 28 : 1;
    const cell = Math.max((right + 1 - left) / (columns * room), (bottom + 1 - top) / (rows * room));
    const middleX = roomy ? massX / mass : (left + right + 1) / 2;
    const middleY = roomy ? massY / mass : (top + bottom + 1) / 2;
    return averaged(ink, rows, columns, middleX - (columns / 2) * cell, middleY - (rows / 2) * cell, cell, cell);
}

// All of a picture, with what is too wide or too high cut off on both sides.
export function covering(picture, rows, columns) {
    const cell = Math.min(picture.width / columns, picture.height / rows);
    const [left, top] = [(picture.width - cell * columns) / 2, (picture.height - cell * rows) / 2];
    return averaged(picture, rows, columns, left, top, cell, cell);
}
