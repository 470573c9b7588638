// The kernels that have mapped the object.
//
// A client is found by the name of its control port, which comes with each of its messages. Where the platform lets us,
// the port is renamed into the high half of the name space: 0x80000000 + 4 * object + client, so that object and client
// number are read off the name. For clients beyond the fourth, and where renaming fails, a look-up gives the number.
//
// Life of a client: free -> attached (init) -> leaving (terminate, dead name, given up) -> free. Its number is free again when
// every page has forgotten it (ClientEnd.swift) and no thread is sending to it: the record counts a reference
// for each, and the last one releases the port names. So a name never changes its meaning under a sender.

import CPlatform
import Synchronization

struct Client: ~Copyable {
    /// By control port name, for clients that the short look-up does not find. Locked.
    var link = HashLink(next: nil, key: 0)
    let number: ClientNumber
    /// The control port's name; 0: this number is free.
    let control = Atomic<UInt32>(0)
    /// Whether the client is attached: what comes from it is accepted.
    let attached = Atomic<UInt32>(0)
    /// One for being known, one for each thread that sends to it.
    let references = Atomic<UInt32>(0)
    /// `Core.attachments` when it attached, itself counted.
    let attachment = Atomic<UInt>(0)
    /// 1: the death of the control port will be announced to us, or has been and nobody has taken that in. The notification brings one more
    /// reference of the name, which whoever makes this 0 gives up.
    let noticeOwed = Atomic<UInt32>(0)
    /// For clients whose state fits the word. Set before the client is a pager's `quickClient`.
    var moves = QuickMoves()
    var name: mach_port_t = 0
    /// The control port has the name that we gave it, and nobody else in our task has the right. (That a name lies in the high half
    /// does not say so: Mach uses names again, also for rights that are nobody's in particular.)
    var isRenamed = false
    /// A name that we gave, for the end of the pager: messages that were received before it went may carry a reference each.
    var lastName: mach_port_t = 0
    /// The port is in `ClientTable.index`. Locked.
    var isIndexed = false
    /// Next free number. Locked.
    var nextFree: ClientNumber = noClient
    /// It is being given up (GivingUp.swift). Locked.
    var leave: Leave?

    init(number: ClientNumber) { self.number = number }
}

typealias ClientPointer = UnsafeMutablePointer<Client>

struct ClientTable {
    struct Core: ~Copyable {
        /// Chunk k has `firstChunk << k` clients. The first is there from the start, another before a number in it is used;
        /// none ever moves.
        let chunks: UnsafeMutablePointer<ClientPointer?>
        let locked: UnsafeMutablePointer<LockedPart>
        /// The lowest of this object's four names in the high half.
        let base: mach_port_t
        /// Attached clients.
        let attached = Atomic<UInt32>(0)
        /// Clients that ever attached. Changes under the lock.
        let attachments = Atomic<UInt>(0)
        /// `ClientHints`, once there is a fifth client; 0: none.
        let hints = Atomic<UInt>(0)
    }

    struct LockedPart {
        var used: ClientNumber = 0
        /// Free numbers, the one that was freed first is used first.
        var firstFree: ClientNumber = noClient
        var lastFree: ClientNumber = noClient
        var index = HashIndex()
    }

    let core: UnsafeMutablePointer<Core>

    static let firstChunk: ClientNumber = 4
    private static let maximumChunks = 26

    /// nil: memory is exhausted.
    static func create() -> ClientTable? {
        let chunks = Memory.allocate(ClientPointer?.self, maximumChunks), core = Memory.allocate(Core.self, 1)
        let locked = Memory.allocate(LockedPart.self, 1)
        if let chunks, let core, let locked {
            chunks.initialize(repeating: nil, count: maximumChunks)
            if makeChunk(chunks, 0) {
                locked.initialize(to: LockedPart())
                core.initialize(to: Core(chunks: chunks, locked: locked, base: ObjectNumbers.take()))
                return ClientTable(core: core)
            }
        }
        Memory.free(chunks)
        Memory.free(core)
        Memory.free(locked)
        return nil
    }

    private static func makeChunk(_ chunks: UnsafeMutablePointer<ClientPointer?>, _ chunk: Int) -> Bool {
        let count = Int(firstChunk) << chunk, first = firstChunk * ((1 << UInt32(chunk)) - 1)
        guard let made = Memory.allocate(Client.self, count) else { return false }
        for index in 0..<count { (made + index).initialize(to: Client(number: first + UInt32(index))) }
        chunks[chunk] = made
        return true
    }

    func destroy() {
        for index in 0..<ClientTable.maximumChunks { Memory.free(core.pointee.chunks[index]) }
        locked.pointee.index.destroy()
        ClientHints(core.pointee.hints.load(ordering: .relaxed))?.destroy()
        Memory.free(locked)
        Memory.free(core.pointee.chunks)
        core.deinitialize(count: 1)
        Memory.free(core)
    }

    private var locked: UnsafeMutablePointer<LockedPart> { core.pointee.locked }

    @inline(__always)
    var attachedCount: UInt32 { core.pointee.attached.load(ordering: .acquiring) }

    /// Numbers that were ever used: 0..<used. Locked.
    var used: ClientNumber { locked.pointee.used }

    /// The record of a number that was used once.
    @inline(__always)
    func client(_ number: ClientNumber) -> ClientPointer {
        let (chunk, index) = ClientTable.position(number)
        return core.pointee.chunks[chunk].unsafelyUnwrapped + index
    }

    /// Number n lies in chunk k at place i, where n + firstChunk = firstChunk * 2^k + i, i less than firstChunk * 2^k.
    @inline(__always)
    private static func position(_ number: ClientNumber) -> (chunk: Int, index: Int) {
        let place = number &+ firstChunk
        let highest = UInt32.bitWidth - 1 - place.leadingZeroBitCount
        return (highest &- firstChunk.trailingZeroBitCount, Int(truncatingIfNeeded: place ^ (1 &<< UInt32(truncatingIfNeeded: highest))))
    }

    /// The client with this control port, without a lock: it finds the first four and most of the others. nil: ask `search`.
    @inline(__always)
    func find(_ control: mach_port_t) -> ClientPointer? {
        // A message may come without a port; the record of a free number has none, either, and may be about to be somebody's.
        if control == 0 { return nil }
        let first = core.pointee.chunks[0].unsafelyUnwrapped
        // The name says the number.
        let said = first + Int(control & 3)
        if said.pointee.control.load(ordering: .acquiring) == control { return said }
        if let hints = ClientHints(core.pointee.hints.load(ordering: .acquiring)), let client = hints.find(control) { return client }
        return findFirst(first, control)
    }

    @inline(never)
    private func findFirst(_ first: ClientPointer, _ control: mach_port_t) -> ClientPointer? {
        for index in 0..<Int(ClientTable.firstChunk) {
            let client = first + index
            if client.pointee.control.load(ordering: .acquiring) == control { return client }
        }
        return nil
    }

    /// The same for all clients. Locked.
    func search(_ control: mach_port_t) -> ClientPointer? {
        if let client = find(control) { return client }
        guard let link = locked.pointee.index.find(UInt64(control)) else { return nil }
        return UnsafeMutableRawPointer(link).assumingMemoryBound(to: Client.self)
    }

    /// A number for a new client; nil: memory is exhausted. Locked.
    func allocate() -> ClientPointer? {
        let free = locked.pointee.firstFree
        if free != noClient && locked.pointee.used >= WordLayout.clients {
            let client = client(free)
            locked.pointee.firstFree = client.pointee.nextFree
            if locked.pointee.firstFree == noClient { locked.pointee.lastFree = noClient }
            client.pointee.nextFree = noClient
            return client
        }
        let number = locked.pointee.used
        if number >= PackedEntry.maximumClient { return nil }
        let chunk = ClientTable.position(number).chunk
        if core.pointee.chunks[chunk] == nil {
            if !ClientTable.makeChunk(core.pointee.chunks, chunk) { return nil }
            // (Without memory for them the look-up goes the long way.)
            if core.pointee.hints.load(ordering: .relaxed) == 0, let hints = ClientHints.create() {
                core.pointee.hints.store(UInt(bitPattern: hints.places), ordering: .releasing)
            }
        }
        locked.pointee.used = number + 1
        return client(number)
    }

    /// The number can be used again. Locked.
    func free(_ client: ClientPointer) {
        let number = client.pointee.number, last = locked.pointee.lastFree
        client.pointee.nextFree = noClient
        if last == noClient { locked.pointee.firstFree = number } else { self.client(last).pointee.nextFree = number }
        locked.pointee.lastFree = number
    }

    /// Locked, or nobody else is here.
    func forgetIndex(_ client: ClientPointer) {
        if !client.pointee.isIndexed { return }
        let locked = locked
        locked.pointee.index.remove(UnsafeMutableRawPointer(client).assumingMemoryBound(to: HashLink.self))
        client.pointee.isIndexed = false
    }

    /// Nobody else is here.
    func releaseAllRights() {
        for number in 0..<used {
            let client = client(number)
            giveUpName(client.pointee.lastName, all: true)
            let control = client.pointee.control.exchange(0, ordering: .relaxed)
            if control == 0 { continue }
            forgetIndex(client)
            if let leave = client.pointee.leave { pager_send_hopeless(leave.control, 0) }
            client.cancelNotice(control, isKept: client.pointee.isRenamed)
            giveUpName(control, all: client.pointee.isRenamed)
            giveUpName(client.pointee.name)
        }
    }
}

/// Nobody uses the name any more. `all`: it is ours alone (it was renamed), and all references go: a dead name has one for a
/// notification that did not reach us, too.
private func giveUpName(_ name: mach_port_t, all: Bool = false) {
    if name == 0 { return }
    _ = all ? mach_port_destroy(mach_task_self(), name) : mach_port_deallocate(mach_task_self(), name)
}

extension ClientPointer {
    /// The port's death is not to be announced any more. Where it has been, but nobody took that in, nobody will. `isKept`: the name goes later,
    /// with all references. (Whether there is one for the notification, kernels differ: where we gave up the receive right ourselves.)
    func cancelNotice(_ control: mach_port_t, isKept: Bool = false) {
        if takeNotice() && pager_cancel_dead_name(control) == 0 && !isKept {
            _ = mach_port_deallocate(mach_task_self(), control)
        }
    }

    /// Whoever gets true answers for the notification.
    func takeNotice() -> Bool { pointee.noticeOwed.exchange(0, ordering: .acquiringAndReleasing) != 0 }

    /// So that the port's name stays while a message is sent. false: the client is gone.
    @inline(__always)
    func acquire() -> Bool {
        var count = pointee.references.load(ordering: .relaxed)
        while count != 0 {
            let (exchanged, original) = pointee.references.weakCompareExchange(
                expected: count, desired: count &+ 1, ordering: .acquiringAndReleasing)
            if exchanged { return true }
            count = original
        }
        return false
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// The client that a message with this control port is from, if it is attached. Counts and logs a refusal otherwise.
    @inline(__always)
    func client(_ control: mach_port_t, _ offset: vm_offset_t) -> ClientPointer? {
        guard let client = pointee.clients.find(control) ?? searchClient(control) else {
            refuse(.unknownControl, UInt64(offset), UInt64(control))
            return nil
        }
        if client.pointee.attached.load(ordering: .acquiring) == 0 {
            refuse(.clientGone, UInt64(offset), UInt64(client.pointee.number))
            return nil
        }
        return client
    }

    func searchClient(_ control: mach_port_t) -> ClientPointer? {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        return pointee.clients.search(control)
    }

    @inline(__always)
    func release(_ client: ClientPointer) {
        if client.pointee.references.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
            releaseLast(client)
        }
    }

    /// Every page has forgotten the client and nobody sends to it.
    private func releaseLast(_ client: ClientPointer) {
        let control = client.pointee.control.load(ordering: .relaxed)
        let name = client.pointee.name
        client.pointee.control.store(0, ordering: .releasing)
        pointee.monitor.lock()
        pointee.clients.forgetIndex(client)
        client.pointee.name = 0
        pointee.monitor.unlock()
        // While the number is not free the names cannot come again for a new client of ours under this record.
        let isKept = client.pointee.isRenamed && pointee.closing.load(ordering: .acquiring) != 0
        client.cancelNotice(control, isKept: isKept)
        if isKept {
            // No client comes after this one, so the name is not used again. But workers may have messages with it in their hands.
            client.pointee.lastName = control
        } else {
            _ = mach_port_deallocate(mach_task_self(), control)
        }
        if name != 0 { _ = mach_port_deallocate(mach_task_self(), name) }
        pointee.monitor.lock()
        pointee.clients.free(client)
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }
}
