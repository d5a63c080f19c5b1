// Polygons in 0-1 coordinates of the camera picture: arrays of [x, y].

const DECIMALS = 1e4;

/** Inside the picture, to a ten-thousandth: finer than a pixel of a 4K camera needs. */
export function tidy([x, y]) {
  const one = (value) => Math.round(Math.min(Math.max(value, 0), 1) * DECIMALS) / DECIMALS;
  return [one(x), one(y)];
}

export function middle([ax, ay], [bx, by]) {
  return tidy([(ax + bx) / 2, (ay + by) / 2]);
}

/** Share of the picture inside a polygon (the shoelace formula). */
export function area(points) {
  let twice = 0;
  points.forEach(([x, y], index) => {
    const [nextX, nextY] = points[(index + 1) % points.length];
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2;
}

/** Whether any two edges cross: such a polygon has no clear inside. */
export function crossesItself(points) {
  const count = points.length;
  for (let i = 0; i < count; i += 1) {
    for (let j = i + 2; j < count; j += 1) {
      if (i === 0 && j === count - 1) continue;
      if (cross(points[i], points[(i + 1) % count], points[j], points[(j + 1) % count])) return true;
    }
  }
  return false;
}

function cross(a, b, c, d) {
  const side = ([px, py], [qx, qy], [rx, ry]) => Math.sign((qx - px) * (ry - py) - (qy - py) * (rx - px));
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

/** A place for a label: the mean of the corners. */
export function centre(points) {
  const sum = points.reduce(([x, y], [px, py]) => [x + px, y + py], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}
