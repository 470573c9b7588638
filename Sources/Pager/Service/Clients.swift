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
    /// The name under which messages may still come that were received before the port was renamed; 0: none. Locked.
    var formerControl: mach_port_t = 0
    var name: mach_port_t = 0
    /// The port is in `ClientTable.index`. Locked.
    var isIndexed = false
    /// Next free number. Locked.
    var nextFree: ClientNumber = noClient

    init(number: ClientNumber) { self.number = number }
}

typealias ClientPointer = UnsafeMutablePointer<Client>

struct ClientTable {
    struct Core: ~Copyable {
        /// Chunk k has `firstChunk << k` clients. A chunk is made before a number in it is used and never moves.
        var chunks: UnsafeMutablePointer<ClientPointer?>
        var used: ClientNumber = 0
        var firstFree: ClientNumber = noClient
        var index = HashIndex()
        /// The lowest of this object's four names in the high half.
        var base: mach_port_t = 0
        /// Attached clients. Not locked.
        let attached = Atomic<UInt32>(0)
        /// Clients whose `formerControl` may come. Not locked.
        let formerControls = Atomic<UInt32>(0)
    }

    let core: UnsafeMutablePointer<Core>

    static let firstChunk: ClientNumber = 4
    private static let maximumChunks = 26

    static func create() -> ClientTable? {
        guard let chunks = Memory.allocate(ClientPointer?.self, maximumChunks) else { return nil }
        guard let core = Memory.allocate(Core.self, 1) else {
            Memory.free(chunks)
            return nil
        }
        chunks.initialize(repeating: nil, count: maximumChunks)
        core.initialize(to: Core(chunks: chunks))
        core.pointee.base = ObjectNumbers.take()
        return ClientTable(core: core)
    }

    func destroy() {
        for index in 0..<ClientTable.maximumChunks { Memory.free(core.pointee.chunks[index]) }
        core.pointee.index.destroy()
        Memory.free(core.pointee.chunks)
        core.deinitialize(count: 1)
        Memory.free(core)
    }

    @inline(__always)
    var attachedCount: UInt32 { core.pointee.attached.load(ordering: .acquiring) }

    /// Numbers that were ever used: 0..<used.
    var used: ClientNumber { core.pointee.used }

    /// The record of a number that was used once.
    @inline(__always)
    func client(_ number: ClientNumber) -> ClientPointer {
        if number < ClientTable.firstChunk { return core.pointee.chunks[0].unsafelyUnwrapped + Int(number) }
        let scaled = number / ClientTable.firstChunk + 1
        let chunk = UInt32.bitWidth - 1 - scaled.leadingZeroBitCount
        let before = ClientTable.firstChunk * ((1 << UInt32(chunk)) - 1)
        return core.pointee.chunks[chunk].unsafelyUnwrapped + Int(number - before)
    }

    /// The client with this control port, without a lock: it finds the first four. nil: ask `search`.
    @inline(__always)
    func find(_ control: mach_port_t) -> ClientPointer? {
        guard let first = core.pointee.chunks[0] else { return nil }
        // The name says the number.
        let said = first + Int(control & 3)
        if said.pointee.control.load(ordering: .acquiring) == control { return said }
        for index in 0..<Int(ClientTable.firstChunk) {
            let client = first + index
            if client.pointee.control.load(ordering: .acquiring) == control { return client }
        }
        return nil
    }

    /// The same for all clients. Locked.
    func searchPresent(_ control: mach_port_t) -> ClientPointer? {
        if let client = find(control) { return client }
        guard let link = core.pointee.index.find(UInt64(control)) else { return nil }
        return UnsafeMutableRawPointer(link).assumingMemoryBound(to: Client.self)
    }

    /// The same, also for names from before a renaming. Locked.
    func search(_ control: mach_port_t) -> ClientPointer? {
        if let client = searchPresent(control) { return client }
        if core.pointee.formerControls.load(ordering: .relaxed) == 0 { return nil }
        for number in 0..<min(used, ClientTable.firstChunk) where client(number).pointee.formerControl == control {
            return client(number)
        }
        return nil
    }

    /// A number for a new client; nil: memory is exhausted. Locked.
    func allocate() -> ClientPointer? {
        let free = core.pointee.firstFree
        if free != noClient {
            let client = client(free)
            core.pointee.firstFree = client.pointee.nextFree
            client.pointee.nextFree = noClient
            return client
        }
        let number = core.pointee.used
        if number >= PackedEntry.maximumClient { return nil }
        let scaled = number / ClientTable.firstChunk + 1
        let chunk = UInt32.bitWidth - 1 - scaled.leadingZeroBitCount
        if core.pointee.chunks[chunk] == nil {
            let count = Int(ClientTable.firstChunk) << chunk
            guard let made = Memory.allocate(Client.self, count) else { return nil }
            for index in 0..<count { (made + index).initialize(to: Client(number: number + UInt32(index))) }
            core.pointee.chunks[chunk] = made
        }
        core.pointee.used = number + 1
        return client(number)
    }

    /// The number can be used again. Locked.
    func free(_ client: ClientPointer) {
        client.pointee.nextFree = core.pointee.firstFree
        core.pointee.firstFree = client.pointee.number
    }

    /// Locked, or nobody else is here.
    func forgetNames(_ client: ClientPointer) {
        if client.pointee.isIndexed {
            core.pointee.index.remove(UnsafeMutableRawPointer(client).assumingMemoryBound(to: HashLink.self))
            client.pointee.isIndexed = false
        }
        if client.pointee.formerControl != 0 {
            client.pointee.formerControl = 0
            core.pointee.formerControls.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    /// Nobody else is here.
    func releaseAllRights() {
        for number in 0..<used {
            let client = client(number)
            let control = client.pointee.control.exchange(0, ordering: .relaxed)
            if control == 0 { continue }
            forgetNames(client)
            _ = pager_request_dead_name(control, 0)
            _ = mach_port_deallocate(mach_task_self(), control)
            if client.pointee.name != 0 { _ = mach_port_deallocate(mach_task_self(), client.pointee.name) }
        }
    }
}

extension ClientPointer {
    /// So that the port's name stays while a message is sent. false: the client is gone.
    @inline(__always)
    func acquire() -> Bool {
        var count = pointee.references.load(ordering: .relaxed)
        while count != 0 {
            let (exchanged, original) = pointee.references.weakCompareExchange(
                expected: count, desired: count + 1, ordering: .acquiringAndReleasing)
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
        pointee.clients.forgetNames(client)
        client.pointee.name = 0
        pointee.monitor.unlock()
        // While the number is not free the names cannot come again for a new client of ours under this record.
        _ = pager_request_dead_name(control, 0)
        _ = mach_port_deallocate(mach_task_self(), control)
        if name != 0 { _ = mach_port_deallocate(mach_task_self(), name) }
        pointee.monitor.lock()
        pointee.clients.free(client)
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }
}
