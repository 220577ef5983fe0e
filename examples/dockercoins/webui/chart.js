'use strict';

// Hashing speed of the last two minutes, a point a second.
const width = 600, height = 200, points = 120;
const speeds = [];
let last = null;

const $ = (id) => document.getElementById(id);

async function tick() {
  try {
    const answer = await fetch('json');
    const now = await answer.json();
    if (!answer.ok) throw new Error(now.error);
    if (last && now.now > last.now) {
      const speed = Math.max(0, (now.hashes - last.hashes) / (now.now - last.now));
      speeds.push(speed);
      if (speeds.length > points) speeds.shift();
      $('speed').value = speed.toFixed(1);
      draw();
    }
    last = now;
    $('hashes').value = now.hashes;
    $('coins').value = now.coins;
    $('state').textContent = `served by ${now.host}`;
  } catch (e) {
    $('state').textContent = e.message;
  }
}

function draw() {
  const top = Math.max(5, Math.ceil(Math.max(...speeds) * 1.2));
  const y = (speed) => height - (speed / top) * height;
  const x = (i) => width - (speeds.length - 1 - i) * (width / (points - 1));
  const grid = [0.25, 0.5, 0.75].map((f) =>
    `<line x1="0" x2="${width}" y1="${y(top * f)}" y2="${y(top * f)}"/><text x="4" y="${y(top * f) - 4}">${(top * f).toFixed(1)}</text>`);
  const path = speeds.map((s, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y(s).toFixed(1)}`).join('');
  $('chart').innerHTML = `${grid.join('')}<path d="${path}"/>`;
}

tick();
setInterval(tick, 1000);
