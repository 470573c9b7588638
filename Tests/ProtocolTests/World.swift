// The whole world around one page, as one small value: the page, the service's work in progress, the write-back
// queue, the disk, and the kernels with their channels.
//
// Guarantees:
//   - Two worlds that can only behave alike have the same `Key`: unused fields are zero, and versions are ranks.
//   - Versions are not counted but ranked: 0 is the oldest version that is still anywhere, `newest` the newest.
//     So there is no bound on the number of writes, and yet the number of worlds is finite.

@testable import Pager

/// A message from a kernel to the pager, in one byte; 0 is no message.
struct Message: Equatable {
    let raw: UInt8

    enum Kind: UInt8 { case request = 1, unlock, returned, lockCompleted, userCompleted }

    private init(_ kind: Kind, _ a: Bool = false, _ b: Bool = false, version: UInt8 = 0) {
        precondition(version < 8, "more versions at once than a message can say")
        raw = kind.rawValue | (a ? 8 : 0) | (b ? 16 : 0) | version << 5
    }

    init(raw: UInt8) { self.raw = raw }

    static func request(write: Bool) -> Message { Message(.request, write) }
    static let unlock = Message(.unlock)
    static func returned(dirty: Bool, keepsCopy: Bool, version: UInt8) -> Message {
        Message(.returned, dirty, keepsCopy, version: version)
    }
    /// Answers a lock request of the protocol.
    static let lockCompleted = Message(.lockCompleted)
    /// Answers a lock request of the user.
    static func userCompleted(flushed: Bool) -> Message { Message(.userCompleted, flushed) }

    var kind: Kind { Kind(rawValue: raw & 7).unsafelyUnwrapped }
    var write: Bool { raw & 8 != 0 }
    var dirty: Bool { raw & 8 != 0 }
    var flushed: Bool { raw & 8 != 0 }
    var keepsCopy: Bool { raw & 16 != 0 }
    var version: UInt8 { raw >> 5 }
    func with(version: UInt8) -> Message { Message(raw: raw & 31 | version << 5) }
}

/// One client: the kernel's view of the page, and what is on its way between it and the pager.
struct Kernel {
    enum Life: UInt8 {
        case away, attached
        /// Gone, but the pager has not heard of it.
        case dying
    }
    enum Page: UInt8 { case absent, waitsToRead, waitsToWrite, present }
    /// A lock request of the protocol that is decided but not sent.
    enum Unsent: UInt8 { case none, downgrade, flush, flushReturningAll }
    enum LateRequest: UInt8 { case none, read, write }

    var life = Life.away
    var page = Page.absent
    var locked = false, dirty = false, precious = false
    /// `data_unlock` was sent and is not answered.
    var unlocking = false
    var version: UInt8 = 0
    var unsent = Unsent.none
    /// Was given the page after the user's lock request, which is not completed.
    var granted = false
    /// Messages to the pager, the oldest in the lowest byte.
    var channel: UInt64 = 0
    /// A thread is about to send `data_request`, or `data_unlock`: what others send overtakes it.
    var lateRequest = LateRequest.none
    var lateUnlock = false

    var waits: Bool { page == .waitsToRead || page == .waitsToWrite }
    var isPresent: Bool { page == .present }
    var canWrite: Bool { page == .present && !locked }

    mutating func send(_ message: Message) {
        let length = 8 - channel.leadingZeroBitCount / 8
        precondition(length < 8, "channel is longer than the model allows")
        channel |= UInt64(message.raw) << UInt64(8 * length)
    }

    mutating func forgetPage() {
        page = .absent
        locked = false; dirty = false; precious = false; unlocking = false
        version = 0
    }

    func channelContains(_ kind: Message.Kind) -> Bool {
        var rest = channel
        while rest != 0 {
            if Message(raw: UInt8(truncatingIfNeeded: rest)).kind == kind { return true }
            rest >>= 8
        }
        return false
    }
}

/// What the page's owner has in hand.
struct Owner {
    enum Work: UInt8 {
        case none, read, write, unlock
        /// `pager_unlock_page` with what was read at hand.
        case unlockBeforeSupply
        case notify, supply, error, grant
    }

    var work = Work.none
    /// `Effects.holders` of the action's beginning.
    var hadHolders = false
    /// Answers: to whom, and to whom not yet sent (a bit for each client).
    var recipients: UInt8 = 0, unsent: UInt8 = 0
    var write = false, precious = false
    /// An offer is being sent: no request and no client is taken in meanwhile.
    var isOffer = false
    /// Of the data that is written, supplied, or kept at hand.
    var version: UInt8 = 0

    var sends: Bool { work.rawValue >= Work.supply.rawValue }
    var hasData: Bool { work == .write || work == .unlockBeforeSupply || work == .supply }
}

/// The page's part of the write-back queue.
struct WriteBack {
    enum Newest: UInt8 { case none, queued, writing, keptWritten, keptFailed }

    var newest = Newest.none
    var version: UInt8 = 0
    /// A superseded version is still being written.
    var olderIsWriting = false
    var olderVersion: UInt8 = 0

    var isWriting: Bool { olderIsWriting || newest == .writing }
}

struct World {
    static let maximumClients = 3

    /// Number of the page's state in the step table.
    var page = 0
    var owner = Owner()
    var writeBack = WriteBack()
    var disk: UInt8 = 0
    /// Ghost: the write of the newest version failed; losing it is legal.
    var newestFailed = false
    /// Ghost: a client got the page and no eviction was told since.
    var owesNotice = false
    var kernels: InlineArray<3, Kernel> = .init(repeating: Kernel())

    var registered: Int {
        var count = 0
        for client in 0..<World.maximumClients where kernels[client].life != .away { count += 1 }
        return count
    }

    /// Ghost: the newest version of all. (A version that gets lost is noticed in the step that loses it.)
    var newest: UInt8 { UInt8(15 - usedVersions.leadingZeroBitCount) }

    /// Which versions exist anywhere.
    var usedVersions: UInt16 {
        var used: UInt16 = 1 << disk
        if owner.hasData { used |= 1 << owner.version }
        if writeBack.newest != .none { used |= 1 << writeBack.version }
        if writeBack.olderIsWriting { used |= 1 << writeBack.olderVersion }
        for client in 0..<World.maximumClients {
            let kernel = kernels[client]
            if kernel.isPresent { used |= 1 << kernel.version }
            var rest = kernel.channel
            while rest != 0 {
                let message = Message(raw: UInt8(truncatingIfNeeded: rest))
                if message.kind == .returned { used |= 1 << message.version }
                rest >>= 8
            }
        }
        return used
    }

    /// The version will reach the disk if nothing fails and nobody dies.
    func isSafe(_ version: UInt8) -> Bool {
        if disk == version { return true }
        if (writeBack.newest == .queued || writeBack.newest == .writing) && writeBack.version == version { return true }
        if owner.work == .write && owner.version == version { return true }
        for client in 0..<World.maximumClients {
            let kernel = kernels[client]
            if kernel.isPresent && kernel.dirty && kernel.version == version { return true }
            var rest = kernel.channel
            while rest != 0 {
                let message = Message(raw: UInt8(truncatingIfNeeded: rest))
                if message.kind == .returned && message.dirty && message.version == version { return true }
                rest >>= 8
            }
        }
        return false
    }

    /// Closes the gaps between the versions.
    mutating func rankVersions() {
        let used = usedVersions
        if used & (used + 1) == 0 { return }
        func rank(_ version: UInt8) -> UInt8 { UInt8((used & ((1 << version) - 1)).nonzeroBitCount) }
        disk = rank(disk)
        if owner.hasData { owner.version = rank(owner.version) }
        if writeBack.newest != .none { writeBack.version = rank(writeBack.version) }
        if writeBack.olderIsWriting { writeBack.olderVersion = rank(writeBack.olderVersion) }
        for client in 0..<World.maximumClients {
            if kernels[client].isPresent { kernels[client].version = rank(kernels[client].version) }
            var position: UInt64 = 0
            while kernels[client].channel >> position != 0 {
                let message = Message(raw: UInt8(truncatingIfNeeded: kernels[client].channel >> position))
                if message.kind == .returned {
                    kernels[client].channel &= ~(0xff << position)
                    kernels[client].channel |= UInt64(message.with(version: rank(message.version)).raw) << position
                }
                position += 8
                if position == 64 { break }
            }
        }
    }
}
