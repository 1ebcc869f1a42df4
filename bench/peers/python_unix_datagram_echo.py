# Echo of Unix datagrams on Python's socket, blocking: there is only one to wait for.
import socket

server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("")  # Linux chooses an abstract name
print("@" + server.getsockname()[1:].decode(), flush=True)
while True:
    data, address = server.recvfrom(65536)
    server.sendto(data, address)
