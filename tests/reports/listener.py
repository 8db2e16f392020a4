"""A server of this machine that stands for the rest of the world: who connects to it has called home."""

import http.server
import threading


class Listener(http.server.ThreadingHTTPServer):
    """Notes every path it is asked for and counts every connection."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []
        self.connections = 0
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def verify_request(self, request, client_address) -> bool:
        self.connections += 1
        return True

    def forget(self) -> None:
        """Start counting anew."""
        self.asked, self.connections = [], 0

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_):
        pass
