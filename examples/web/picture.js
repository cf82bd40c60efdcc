// The square of a photo that the network sees, and the numbers it becomes.

/** A photo with a movable square; `centre` is in parts of the photo, `zoom` 1 takes the largest square. */
export class Picture {
  constructor(bitmap, centre = [0.5, 0.5], zoom = 1) {
    this.bitmap = bitmap;
    this.centre = [...centre];
    this.zoom = zoom;
    this.clamp();
  }

  get side() {
    return Math.min(this.bitmap.width, this.bitmap.height) / this.zoom;
  }

  /** Moves the square by parts of its own side. */
  move(right, down) {
    this.centre[0] += (right * this.side) / this.bitmap.width;
    this.centre[1] += (down * this.side) / this.bitmap.height;
    this.clamp();
  }

  /** Keeps the square inside the photo. */
  clamp() {
    const half = [this.side / 2 / this.bitmap.width, this.side / 2 / this.bitmap.height];
    this.centre = this.centre.map((at, axis) => Math.min(Math.max(at, half[axis]), 1 - half[axis]));
  }

  /** RGBA bytes of the square at some size. */
  pixels(width, height = width) {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const { bitmap, side } = this;
    const corner = [this.centre[0] * bitmap.width - side / 2, this.centre[1] * bitmap.height - side / 2];
    context.fillStyle = "#fff"; // what is transparent
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, ...corner, side, side, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  }

  /** Float32 input of a network: (value - mean) / scale, grey or RGB, channels first or last. */
  numbers({ dims, channelAxis, mean, scale }) {
    const [height, width] = channelAxis === 1 ? dims.slice(2) : dims.slice(1, 3);
    const channels = dims[channelAxis];
    const bytes = this.pixels(width, height);
    const count = width * height;
    const numbers = new Float32Array(count * channels);
    for (let pixel = 0; pixel < count; pixel++) {
      const [red, green, blue] = bytes.subarray(4 * pixel, 4 * pixel + 3);
      const values = channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue];
      values.forEach((value, channel) => {
        const at = channelAxis === 1 ? channel * count + pixel : pixel * channels + channel;
        numbers[at] = (value - mean) / scale;
      });
    }
    return numbers;
  }
}

/** A photo from a file, its numbers as they are: colour profiles are not applied, as in training; throws an error that says what is wrong with it. */
export async function readPhoto(file) {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name || "This file"} is not a picture that this browser can read. Try a JPEG, PNG or WebP file.`);
  }
}
