# SPDX-License-Identifier: GPL-2.0
#
# A sample in Prometheus's text format (version 0.0.4), and a small HTTP server
# that serves it. Only what was counted, no rates: those are Prometheus's work.
#
# The histograms have no _sum, because the kernel does not add up times. The
# format allows that; what needs a sum (an average) is not there.

import socket
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import sysfs
from .rates import bounds

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Counters of the ABI, with what to say about them. Others are passed on, too.
COUNTERS = {
    "commands": "SCSI commands received",
    "reads": "SCSI commands answered with data for the initiator",
    "writes": "SCSI commands answered after data had come from the initiator",
    "read_bytes": "Bytes sent to initiators",
    "write_bytes": "Bytes that came from initiators",
    "failed": "Commands answered with a status other than GOOD",
    "aborted": "Commands that were ended without an answer",
    "task_management": "Task management requests received",
    "malformed": "Malformed information units",
    "credits_starved": "Requests that took an initiator's last credit",
    "sq_full": "Transfers that had to wait for room in the send queue",
    "logins": "Logins granted",
    "logins_refused": "Logins refused",
}
GAUGES = {
    "req_lim": "Requests that the initiator may send now",
    "active": "Commands and task management functions that are not done yet",
    "sq_used": "Entries of the send queue in use",
    "age_seconds": "Seconds since the login",
}


def escaped(text):
    """As a label's value."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def help_text(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def sample_line(name, labels, value):
    inside = ",".join('%s="%s"' % (k, escaped(v)) for k, v in labels.items())
    return "%s%s %s" % (name, "{%s}" % inside if inside else "", value)


class Page:
    """Metrics with their samples; all samples of a metric are together, as the
    format wants it."""

    def __init__(self):
        self.metrics = {}

    def add(self, kind, name, says, labels, value, suffix=""):
        head = "# HELP %s %s\n# TYPE %s %s" % (name, help_text(says), name, kind)
        self.metrics.setdefault(name, [head]).append(
            sample_line(name + suffix, labels, value))

    def histogram(self, name, says, labels, buckets):
        total = 0
        for index, number in enumerate(buckets):
            high = bounds(index)[1]
            total += number
            if high is not None:
                self.add("histogram", name, says,
                         {**labels, "le": repr(high / 1e9)}, total, "_bucket")
        self.add("histogram", name, says, {**labels, "le": "+Inf"}, total,
                 "_bucket")
        self.add("histogram", name, says, labels, total, "_count")

    def text(self):
        return "".join("\n".join(lines) + "\n" for lines in self.metrics.values())


def port_metrics(page, port):
    labels = {"hca": port.hca, "port": port.number}
    page.add("gauge", "srpt_port_info", "A port, always 1",
             {**labels, "link_layer": port.link_layer}, 1)
    if port.enabled is not None:
        page.add("gauge", "srpt_port_enabled", "1 if logins are allowed",
                 labels, int(port.enabled))
    page.add("gauge", "srpt_port_channels", "Channels of all initiators", labels,
             len(port.sessions))
    page.add("gauge", "srpt_port_initiators", "Initiators that are logged in",
             labels, len({s.initiator for s in port.sessions.values()}))
    for name, value in port.counters.items():
        page.add("counter", "srpt_port_%s_total" % name,
                 COUNTERS.get(name, "Counter " + name), labels, value)
    for reason, value in port.refusals.items():
        page.add("counter", "srpt_port_refusals_total",
                 "Logins refused, by the reason in SRP_LOGIN_REJ",
                 {**labels, "reason": reason}, value)
    for stage, buckets in port.latency.items():
        page.histogram("srpt_port_latency_seconds",
                       "Time that commands spent in a stage; without a sum",
                       {**labels, "stage": stage}, buckets)


def session_metrics(page, port, session, latency):
    labels = {"hca": port.hca, "port": port.number,
              "initiator": session.initiator, "channel": session.channel}
    page.add("gauge", "srpt_session_info", "A channel, always 1",
             {**labels, "peer": session.peer, "state": session.state}, 1)
    values = {"req_lim": session.req_lim, "active": session.active,
              "sq_used": session.sq_used, "age_seconds": session.age}
    for name, value in values.items():
        if value is not None:
            page.add("gauge", "srpt_session_" + name, GAUGES[name], labels, value)
    for name, value in session.counters.items():
        page.add("counter", "srpt_session_%s_total" % name,
                 COUNTERS.get(name, "Counter " + name), labels, value)
    if latency:
        for stage, buckets in session.latency.items():
            page.histogram("srpt_session_latency_seconds",
                           "Time that commands spent in a stage; without a sum",
                           {**labels, "stage": stage}, buckets)


def metrics(sample, session_latency=False):
    """The page for a sample. The histograms of a channel are 100 lines, and
    every login has a new channel number; hence they are only there on demand."""
    page = Page()
    page.add("gauge", "srpt_ports", "Ports of the SRP target", {},
             len(sample.ports))
    for port in sample.ports.values():
        port_metrics(page, port)
    for port in sample.ports.values():
        for session in port.sessions.values():
            session_metrics(page, port, session, session_latency)
    return page.text()


def parse_address(text):
    """"9100", "host:9100" or "[::1]:9100" as (host, port); ValueError."""
    host, colon, port = text.rpartition(":")
    host = host if colon else "127.0.0.1"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets: [::1]:9100")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("'%s' is not [address:]port" % text)
    return host, int(port)


class Handler(BaseHTTPRequestHandler):
    timeout = 10                    # for peers that say nothing
    server_version = "srpt-top"
    sys_version = ""
    options = None

    def answer(self, status, kind, text, body=True):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def do_GET(self, body=True):
        path = self.path.partition("?")[0]
        if path == "/metrics":
            sample = sysfs.read(self.options.root)
            self.answer(200, CONTENT_TYPE,
                        metrics(sample, self.options.session_latency), body)
        elif path == "/":
            self.answer(200, "text/html; charset=utf-8", "<!DOCTYPE html><title>"
                        "srpt-top</title><a href=\"/metrics\">metrics</a>\n", body)
        else:
            self.answer(404, "text/plain; charset=utf-8", "only /metrics\n", body)

    def do_HEAD(self):
        self.do_GET(body=False)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host, port, options):
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.address_family = family
        handler = type("Handler", (Handler,), {"options": options})
        super().__init__((host, port), handler)

    def server_bind(self):
        # HTTPServer would ask the name service for a name nobody uses.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        # A peer that hangs up is not worth a traceback.
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print("srpt-top: %s: %r" % (client_address[0], error),
                  file=sys.stderr)


def serve(options):
    """Serve /metrics until the program is ended."""
    host, port = options.listen
    try:
        server = Server(host, port, options)
    except OSError as error:
        print("srpt-top: cannot listen on %s, port %d: %s" % (host, port, error),
              file=sys.stderr)
        return 1
    with server:
        shown = "[%s]" % host if ":" in host else host
        print("srpt-top: serving http://%s:%d/metrics"
              % (shown, server.server_port), file=sys.stderr, flush=True)
        server.serve_forever()
    return 0
