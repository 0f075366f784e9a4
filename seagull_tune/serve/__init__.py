"""A tuned model behind HTTP: OpenAI-compatible chat, numbers for regions, health and metrics (docs/server.md).

request -> app (limits, key) -> inputs (photograph, regions) -> worker (one thread, batches) -> replies
"""
