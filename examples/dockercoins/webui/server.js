'use strict';

const os = require('node:os');
const path = require('node:path');
const express = require('express');
const { createClient } = require('redis');

const port = Number(process.env.PORT || 8080);
const store = createClient({ url: `redis://${process.env.REDIS_HOST || 'redis'}:6379`, disableOfflineQueue: true });
store.on('error', (e) => console.error(`redis: ${e.message || e.code}`));

const app = express();

// Read from disk for every request, so an edited page shows at the next reload.
for (const [url, file] of [['/', 'index.html'], ['/chart.js', 'chart.js'], ['/style.css', 'style.css']]) {
  app.get(url, (req, res) => res.sendFile(path.join(__dirname, file), { headers: { 'Cache-Control': 'no-cache' } }));
}

app.get('/healthz', (req, res) => res.type('text').send('ok\n'));

// The counters so far; the page makes a speed out of two of these.
app.get('/json', async (req, res) => {
  try {
    const [hashes, coins] = await store.mGet(['hashes', 'coins']);
    res.json({ hashes: Number(hashes), coins: Number(coins), now: Date.now() / 1000, host: os.hostname() });
  } catch (e) {
    res.status(503).json({ error: `redis: ${e.message}` });
  }
});

const server = app.listen(port, () => console.log(`webui listens on ${port}`));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}

store.connect().catch((e) => console.error(`redis: ${e.message}`));
