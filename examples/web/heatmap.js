// Attribution maps as colours over a photo: blue and red around zero, or dark to bright where nothing is negative.

const SIGNED = [[33, 102, 172], [103, 169, 207], [222, 222, 222], [239, 138, 98], [178, 24, 43]];
const UNSIGNED = [[20, 14, 54], [120, 28, 109], [207, 68, 70], [251, 155, 6], [252, 255, 164]];
const PERCENTILE = 0.99;

/** One value per pixel from an attribution of shape (1, H, W, C) or (1, C, H, W): channels are summed. */
export function flatten({ values, dims }, channelAxis) {
  const [height, width] = channelAxis === 1 ? dims.slice(2) : dims.slice(1, 3);
  const channels = dims[channelAxis];
  const map = new Float32Array(height * width);
  for (let pixel = 0; pixel < map.length; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      map[pixel] += values[channelAxis === 1 ? channel * map.length + pixel : pixel * channels + channel];
    }
  }
  if (!map.every(Number.isFinite)) throw new Error("The explanation has numbers that are not finite.");
  const sizes = Float32Array.from(map, Math.abs).sort();
  const limit = sizes[Math.floor(PERCENTILE * (sizes.length - 1))] || sizes[sizes.length - 1];
  return { map, width, height, limit, signed: map.some((value) => value < 0) };
}

/** The colour of a place on the scale, from 0 to 1. */
function colour(scale, place) {
  const at = Math.min(Math.max(place, 0), 1) * (scale.length - 1);
  const low = Math.min(Math.floor(at), scale.length - 2);
  return scale[low].map((value, channel) => value + (at - low) * (scale[low + 1][channel] - value));
}

/** Draws the heatmap over RGBA bytes of the photo; where it is strong it covers, where it is weak the photo shows. */
export function paint(context, photo, heat, opacity) {
  const { width, height } = context.canvas;
  const image = new ImageData(new Uint8ClampedArray(photo), width, height);
  if (heat && opacity > 0) {
    const scale = heat.signed ? SIGNED : UNSIGNED;
    for (let y = 0, at = 0; y < height; y++) {
      const row = Math.floor((y * heat.height) / height) * heat.width;
      for (let x = 0; x < width; x++, at += 4) {
        const strength = heat.limit ? heat.map[row + Math.floor((x * heat.width) / width)] / heat.limit : 0;
        const cover = opacity * Math.min(1, 1.2 * Math.abs(strength) ** 0.8);
        const grey = 0.299 * photo[at] + 0.587 * photo[at + 1] + 0.114 * photo[at + 2];
        const [red, green, blue] = colour(scale, heat.signed ? (strength + 1) / 2 : strength);
        [red, green, blue].forEach((value, channel) => {
          const below = photo[at + channel] * (1 - opacity) + (0.25 * 255 + 0.7 * grey) * opacity;
          image.data[at + channel] = below * (1 - cover) + value * cover;
        });
      }
    }
  }
  context.putImageData(image, 0, 0);
}

/** Draws the colour bar and returns its three labels. */
export function paintScale(context, heat) {
  const { width } = context.canvas;
  for (let x = 0; x < width; x++) {
    context.fillStyle = `rgb(${colour(heat.signed ? SIGNED : UNSIGNED, x / (width - 1))})`;
    context.fillRect(x, 0, 1, 1);
  }
  const text = heat.limit.toPrecision(2);
  return heat.signed ? [`−${text}: against`, "0", `+${text}: for`] : ["0: no effect", "", `${text}: strong`];
}
