"""What rng allows. Edit DELAY while `kdev up` runs and watch the page."""

DELAY = 0.1  # seconds for each request
MAX_BYTES = 1024
