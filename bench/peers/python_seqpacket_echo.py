# Echo of seqpacket connections on Python's socket and selectors, which is epoll.
import selectors
import socket

selector = selectors.DefaultSelector()
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("")  # Linux chooses an abstract name
listener.listen(4096)


def accept(_):
    selector.register(listener.accept()[0], selectors.EVENT_READ, echo)


def echo(connection):
    data = connection.recv(65536)
    if data:
        connection.send(data)
    else:
        selector.unregister(connection)
        connection.close()


selector.register(listener, selectors.EVENT_READ, accept)
print("@" + listener.getsockname()[1:].decode(), flush=True)
while True:
    for key, _ in selector.select():
        key.data(key.fileobj)
