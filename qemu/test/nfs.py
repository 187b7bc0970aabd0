# SPDX-License-Identifier: GPL-2.0
#
# A client of NFS 4.2 that asks the server for exactly what it is told to, with nothing of its own between. It has one session, asks for one
# thing at a time, and is root.
#
# As a program, `nfs.py PIPE`: keeps for the server which clients there are, so that these can claim what they had when it starts again. The
# server makes its PIPE when it starts.

import socket
import struct
import sys
import time

NAMES = {1: "PERM", 2: "NOENT", 5: "IO", 6: "NXIO", 13: "ACCESS", 17: "EXIST", 18: "XDEV", 20: "NOTDIR", 21: "ISDIR", 22: "INVAL", 27: "FBIG",
         28: "NOSPC", 63: "NAMETOOLONG", 66: "NOTEMPTY", 69: "DQUOT", 70: "STALE", 10001: "BADHANDLE", 10004: "NOTSUPP", 10003: "BAD_COOKIE", 10005: "TOOSMALL",
         10006: "SERVERFAULT", 10008: "DELAY", 10013: "GRACE", 10066: "REP_TOO_BIG", 10020: "NOFILEHANDLE", 10095: "NOXATTR", 10096: "XATTR2BIG"}
# Attributes: their number and how many bytes they are.
TYPE, CHANGE, SIZE, FILEID, LINKS, CHANGE_IS = (1, 4), (3, 8), (4, 8), (20, 8), (35, 4), (79, 4)
ANYBODY = bytes(16)
UNSTABLE, DATA_SYNC, FILE_SYNC = 0, 1, 2


class Refused(Exception):
    """What the server says when it says no."""


def u32(number):
    return struct.pack(">I", number)


def u64(number):
    return struct.pack(">Q", number)


def opaque(data):
    data = data.encode() if isinstance(data, str) else data
    return u32(len(data)) + data + bytes(-len(data) % 4)


def bits(*attributes):
    words = [0, 0, 0]
    for number, _ in attributes:
        words[number // 32] |= 1 << number % 32
    return u32(3) + b"".join(map(u32, words))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def raw(self, size):
        self.at += size
        if self.at > len(self.data):
            raise EOFError
        return self.data[self.at - size : self.at]

    def u32(self):
        return struct.unpack(">I", self.raw(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.raw(8))[0]

    def opaque(self):
        data = self.raw(self.u32())
        self.raw(-len(data) % 4)
        return data

    def attributes(self, asked):
        """None for what the server does not have."""
        words = [self.u32() for _ in range(self.u32())] + [0, 0, 0]
        inside = Reader(self.opaque())
        has = lambda number: words[number // 32] >> number % 32 & 1
        return [(inside.u32() if size == 4 else inside.u64()) if has(number) else None for number, size in sorted(asked)]


class Client:
    def __init__(self, name):
        """A client of the same name as an earlier one is the same, started again."""
        self.socket = socket.create_connection(("127.0.0.1", 2049), timeout=60)
        self.calls, self.session = 0, None
        answer = self.compound([(42, struct.pack("d", time.time()) + opaque(name) + u32(0) + u32(0) + u32(0))])
        self.id, first = answer.u64(), answer.u32()
        channel = struct.pack(">7I", 0, 1 << 20, 1 << 20, 4096, 16, 1, 0)
        answer = self.compound([(43, u64(self.id) + u32(first) + u32(0) + channel + channel + u32(0) + u32(1) + u32(0))])
        self.session, self.sequence = answer.raw(16), 0
        self.compound([(58, u32(0))])
        self.root = self.compound([(24, b""), (10, b"")]).opaque()

    def compound(self, operations):
        """Has them done, and gives the answer to the last one."""
        while True:
            try:
                return self.once(operations)
            except Refused as e:
                # The server waits for somebody else.
                if str(e) not in ["GRACE", "DELAY"]:
                    raise
            time.sleep(0.05)

    def once(self, operations):
        if self.session:
            self.sequence += 1
            operations = [(53, self.session + u32(self.sequence) + bytes(12))] + operations
        self.calls += 1
        who = u32(0) + opaque("test") + bytes(12)
        call = struct.pack(">6I", self.calls, 0, 2, 100003, 4, 1) + u32(1) + opaque(who) + bytes(8)
        call += opaque("") + u32(2) + u32(len(operations)) + b"".join(u32(number) + args for number, args in operations)
        self.socket.sendall(u32(1 << 31 | len(call)) + call)
        answer, more = b"", True
        while more:
            length = struct.unpack(">I", self.read(4))[0]
            more = not length >> 31
            answer += self.read(length & 0x7FFFFFFF)
        answer = Reader(answer)
        if (answer.u32(), answer.u32(), answer.u32()) != (self.calls, 1, 0):
            raise EOFError("the call is denied")
        answer.u32(), answer.opaque()
        if answer.u32():
            raise EOFError("the call is not understood")
        answer.u32(), answer.opaque()
        for left in reversed(range(answer.u32())):
            number, status = answer.u32(), answer.u32()
            # Of all that is asked for before the last one, only this answers more than that it went well.
            if number == 53 and left and not status:
                answer.raw(36)
        if status:
            raise Refused(NAMES.get(status, status))
        return answer

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError("the server has hung up")
            data += piece
        return data

    def at(self, handle, *operations):
        return self.compound([(22, opaque(handle)), *operations])

    def of_two(self, first, second, operation):
        """What is done with two handles."""
        return self.compound([(22, opaque(first)), (32, b""), (22, opaque(second)), operation])

    def handle(self, path, start=None):
        return self.at(start or self.root, *((15, opaque(name)) for name in path.split("/")), (10, b"")).opaque()

    def parent(self, handle):
        return self.at(handle, (16, b""), (10, b"")).opaque()

    def attributes(self, handle, *asked):
        return self.at(handle, (9, bits(*asked))).attributes(asked)

    def change(self, handle):
        return self.attributes(handle, CHANGE)[0]

    def set_mode(self, handle, mode):
        self.at(handle, (34, ANYBODY + bits((33, 4)) + opaque(u32(mode))))

    def read_at(self, handle, offset, size):
        answer = self.at(handle, (25, ANYBODY + u64(offset) + u32(size)))
        answer.u32()
        return answer.opaque()

    def write_at(self, handle, offset, data, stable):
        return self.at(handle, (38, ANYBODY + u64(offset) + u32(stable) + opaque(data))).u32()

    def commit(self, handle):
        self.at(handle, (5, bytes(12)))

    def make_folder(self, handle, name):
        self.at(handle, (6, u32(2) + opaque(name) + bits() + opaque(b"")))

    def make_link(self, handle, name, to):
        self.at(handle, (6, u32(5) + opaque(to) + opaque(name) + bits() + opaque(b"")))

    def create(self, handle, name, how, verifier=b""):
        """Makes a file; how: 1, if there is none, or 3, also if it was made by this verifier."""
        more = verifier + bits() + opaque(b"")
        self.at(handle, (18, u32(0) + u32(0x403) + u32(0) + u64(self.id) + opaque("owner") + u32(1) + u32(how) + more
                         + u32(0) + opaque(name)))
        return self.handle(name, handle)

    def link(self, handle, folder, name):
        self.of_two(handle, folder, (11, opaque(name)))

    def rename(self, old, name, new, to):
        self.of_two(old, new, (29, opaque(name) + opaque(to)))

    def remove(self, handle, name):
        self.at(handle, (28, opaque(name)))

    def listing(self, handle, cookie, most):
        """Some of the names behind a cookie, each with a cookie and its number, and whether that was the last one."""
        answer = self.at(handle, (26, u64(cookie) + bytes(8) + u32(most) + u32(most) + bits(FILEID)))
        answer.raw(8)
        names = []
        while answer.u32():
            cookie, name = answer.u64(), answer.opaque().decode()
            names.append((cookie, name, *answer.attributes([FILEID])))
        return names, answer.u32()

    def allocate(self, handle, offset, length):
        self.at(handle, (59, ANYBODY + u64(offset) + u64(length)))

    def deallocate(self, handle, offset, length):
        self.at(handle, (62, ANYBODY + u64(offset) + u64(length)))

    def seek(self, handle, offset, what):
        answer = self.at(handle, (69, ANYBODY + u64(offset) + u32(what)))
        at_end = answer.u32()
        return answer.u64(), at_end

    def copy(self, source, to, offset, to_offset, length):
        answer = self.of_two(source, to, (60, ANYBODY + ANYBODY + u64(offset) + u64(to_offset) + u64(length) + u32(1) + u32(1) + u32(0)))
        answer.raw(16 * answer.u32())
        return answer.u64()

    def clone(self, source, to, offset, to_offset, length):
        self.of_two(source, to, (71, ANYBODY + ANYBODY + u64(offset) + u64(to_offset) + u64(length)))

    def get_xattr(self, handle, name):
        return self.at(handle, (72, opaque(name))).opaque()

    def set_xattr(self, handle, name, value, how=0):
        """how: 1, if there is none, or 2, if there is one."""
        self.at(handle, (73, u32(how) + opaque(name) + opaque(value)))

    def list_xattrs(self, handle):
        answer = self.at(handle, (74, u64(0) + u32(4096)))
        answer.u64()
        return [answer.opaque().decode() for _ in range(answer.u32())]

    def remove_xattr(self, handle, name):
        self.at(handle, (75, opaque(name)))


def remember(path):
    # A message: its version, command, status and number, then the length of a name and the name.
    head, known = struct.Struct("=BBhI"), set()
    while True:
        try:
            with open(path, "r+b", buffering=0) as pipe:
                while True:
                    # It gives nothing where there is nothing, and an error when the server has ended.
                    message = pipe.read(4096)
                    if not message:
                        time.sleep(0.01)
                        continue
                    version, command, _, number = head.unpack_from(message)
                    body = message[head.size :]
                    if command == 0:
                        known.add(body)
                    elif command == 1:
                        known.discard(body)
                    elif command == 4:
                        for name in known:
                            pipe.write(head.pack(version, command, -115, number) + name)
                    elif command == 5:
                        body = bytes([1]) + body[1:]
                    pipe.write(head.pack(version, command, 0, number) + body)
        except OSError:
            pass
        time.sleep(0.02)


if __name__ == "__main__":
    print("ready", flush=True)
    remember(sys.argv[1])
