// Worlds in 40 bytes, for the table of those that were reached.
//
// Guarantee: `World(key:)` and `key` are inverse to each other.

struct Key: Equatable {
    var work: UInt64 = 0
    var kernels: UInt64 = 0
    var channel0: UInt64 = 0, channel1: UInt64 = 0, channel2: UInt64 = 0

    static func < (a: Key, b: Key) -> Bool {
        (a.work, a.kernels, a.channel0, a.channel1, a.channel2) < (b.work, b.kernels, b.channel0, b.channel1, b.channel2)
    }

    @inline(__always)
    var hash: UInt64 {
        var hash = work &* 0x9e37_79b9_7f4a_7c15
        hash = (hash ^ hash >> 29 ^ kernels) &* 0xbf58_476d_1ce4_e5b9
        hash = (hash ^ hash >> 32 ^ channel0) &* 0x94d0_49bb_1331_11eb
        hash = (hash ^ hash >> 29 ^ channel1) &* 0x9e37_79b9_7f4a_7c15
        hash = (hash ^ hash >> 32 ^ channel2) &* 0xbf58_476d_1ce4_e5b9
        return hash ^ hash >> 31
    }
}

/// Puts fields next to each other, the first lowest.
private struct Packer {
    var bits: UInt64 = 0
    var width: UInt64 = 0

    mutating func put(_ value: UInt8, _ width: UInt64) {
        bits |= UInt64(value) << self.width
        self.width += width
    }
    mutating func put(_ value: Bool) { put(value ? 1 : 0, 1) }
}

private struct Unpacker {
    var bits: UInt64

    mutating func take(_ width: UInt64) -> UInt8 {
        defer { bits >>= width }
        return UInt8(truncatingIfNeeded: bits & (1 << width - 1))
    }
    mutating func take() -> Bool { take(1) != 0 }
}

extension Kernel {
    static let bitsWidth: UInt64 = 17

    /// All but the channel.
    var bits: UInt64 {
        var packer = Packer()
        packer.put(life.rawValue, 2)
        packer.put(page.rawValue, 2)
        packer.put(locked)
        packer.put(dirty)
        packer.put(precious)
        packer.put(unlocking)
        packer.put(version, 3)
        packer.put(unsent.rawValue, 2)
        packer.put(granted)
        packer.put(lateRequest.rawValue, 2)
        packer.put(lateUnlock)
        return packer.bits
    }
}

extension World {
    var key: Key {
        var key = Key()
        var packer = Packer()
        packer.put(owner.work.rawValue, 4)
        packer.put(owner.hadHolders)
        packer.put(owner.recipients, 3)
        packer.put(owner.unsent, 3)
        packer.put(owner.write)
        packer.put(owner.precious)
        packer.put(owner.isOffer)
        packer.put(owner.version, 3)
        packer.put(writeBack.newest.rawValue, 3)
        packer.put(writeBack.version, 3)
        packer.put(writeBack.olderIsWriting)
        packer.put(writeBack.olderVersion, 3)
        packer.put(disk, 3)
        packer.put(newestFailed)
        packer.put(owesNotice)
        key.work = packer.bits | UInt64(page) << packer.width

        for client in 0..<World.maximumClients {
            key.kernels |= kernels[client].bits << (Kernel.bitsWidth * UInt64(client))
        }
        key.channel0 = kernels[0].channel
        key.channel1 = kernels[1].channel
        key.channel2 = kernels[2].channel
        return key
    }

    init(key: Key) {
        var fields = Unpacker(bits: key.work)
        owner.work = .init(rawValue: fields.take(4))!
        owner.hadHolders = fields.take()
        owner.recipients = fields.take(3)
        owner.unsent = fields.take(3)
        owner.write = fields.take()
        owner.precious = fields.take()
        owner.isOffer = fields.take()
        owner.version = fields.take(3)
        writeBack.newest = .init(rawValue: fields.take(3))!
        writeBack.version = fields.take(3)
        writeBack.olderIsWriting = fields.take()
        writeBack.olderVersion = fields.take(3)
        disk = fields.take(3)
        newestFailed = fields.take()
        owesNotice = fields.take()
        page = Int(fields.bits)

        fields = Unpacker(bits: key.kernels)
        for client in 0..<World.maximumClients {
            var kernel = Kernel()
            kernel.life = .init(rawValue: fields.take(2))!
            kernel.page = .init(rawValue: fields.take(2))!
            kernel.locked = fields.take()
            kernel.dirty = fields.take()
            kernel.precious = fields.take()
            kernel.unlocking = fields.take()
            kernel.version = fields.take(3)
            kernel.unsent = .init(rawValue: fields.take(2))!
            kernel.granted = fields.take()
            kernel.lateRequest = .init(rawValue: fields.take(2))!
            kernel.lateUnlock = fields.take()
            kernels[client] = kernel
        }
        kernels[0].channel = key.channel0
        kernels[1].channel = key.channel1
        kernels[2].channel = key.channel2
    }
}
