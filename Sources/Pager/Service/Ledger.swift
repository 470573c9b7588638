// Lock requests that clients have not answered yet.
//
// `lock_completed` names the client, the offset and the length, and nothing else. A flush that the protocol asked for and a
// user's pager_sync_some of the same page look alike. So the answers are told apart by order:
//
//   L1  Requests with the same client, offset and length (the same *key*) are sent one after the other, in the order of
//       their entries. While one thread sends, others leave their entry `queued`; the sender sends it next.
//   L2  The client answers in the order in which it got them, so an answer belongs to the first entry of its key that
//       was sent (or is being sent: the answer may overtake the sender's return).
//       (For the protocol's requests to several clients there is one record, and no queue: LockBatches.swift. An answer belongs to that or to
//       an entry, whichever came first.)
//   L3  No lock is held while sending. An entry may be answered and freed meanwhile, so the sender knows it by a serial
//       number afterwards.
//
// A user's flush also takes pages from the client's access set, once it is answered (`released`) - but not a page that was given
// to the client meanwhile. Such pages are noted with the entry (`noteGiven`) as long as it exists, before they are sent; what was
// being sent when the entry came is waited for before the flush is sent (`preparing`; Answering.swift).

import CPlatform
import Synchronization

/// What a lock request asks, and for whom.
struct LockRequest {
    var offset: vm_offset_t
    var length: vm_size_t
    var returns: memory_object_return_t
    var flush: Bool
    var lock: vm_prot_t
    /// The page, where the protocol asked.
    var page: UInt64
    var isUsers: Bool
    /// Where a user waits: told when the answer is dealt with.
    var operation: UnsafeMutablePointer<RangeOperation>?
}

/// An entry that is to be sent.
struct QueuedLock {
    let client: ClientNumber
    let request: LockRequest
    let serial: UInt64
}

enum LockState: UInt8 { case preparing, queued, sending, sent, sweeping }

struct LockEntry {
    var link = HashLink(next: nil, key: 0)
    var previous: LockEntryPointer?
    var next: LockEntryPointer?
    var serial: UInt64
    var client: ClientNumber
    var state = LockState.queued
    var request: LockRequest
    /// When, in milliseconds.
    let asked: UInt64
    /// Pages that the client was given since (users' flushes only).
    var given: UnsafeMutablePointer<UInt64>?
    var givenCount = 0
    var givenCapacity = 0
    /// There was no memory to note one: take nothing from the access set.
    var givenUnknown = false

    func wasGiven(_ page: UInt64) -> Bool {
        if givenUnknown { return true }
        for index in 0..<givenCount where given.unsafelyUnwrapped[index] == page { return true }
        return false
    }

    mutating func noteGiven(_ page: UInt64) {
        if wasGiven(page) { return }
        if givenCount == givenCapacity {
            let capacity = max(16, givenCapacity * 2)
            // Bounded; beyond it the access set stays larger than it need be, which is safe.
            guard capacity <= 4096, let new = Memory.allocate(UInt64.self, capacity) else {
                givenUnknown = true
                return
            }
            if let given { new.update(from: given, count: givenCount) }
            Memory.free(given)
            given = new
            givenCapacity = capacity
        }
        given.unsafelyUnwrapped[givenCount] = page
        givenCount += 1
    }
}

typealias LockEntryPointer = UnsafeMutablePointer<LockEntry>

/// Locked.
struct Ledger {
    private var index = HashIndex()
    private(set) var first: LockEntryPointer?
    private var nextSerial: UInt64 = 1
    /// Records without an entry, linked through `next`: a few are kept, since most entries live for one message.
    private var spare: LockEntryPointer?
    private(set) var spareCount = 0

    /// The protocol's requests to several clients at once.
    var batches = LockBatches()

    private static let spareLimit = 64

    static func key(_ client: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t) -> UInt64 {
        (UInt64(offset) &* 31 &+ UInt64(length)) &* 0x1_0000_01b3 &+ UInt64(client)
    }

    mutating func destroy() {
        while let entry = first { remove(entry) }
        while let entry = takeSpare() { Memory.free(entry) }
        batches.destroy()
        index.destroy()
    }

    mutating func takeSpare() -> LockEntryPointer? {
        guard let entry = spare else { return nil }
        spare = entry.pointee.next
        spareCount -= 1
        return entry
    }

    /// Of a record that nobody uses.
    mutating func giveSpare(_ entry: LockEntryPointer) {
        entry.pointee.next = spare
        spare = entry
        spareCount += 1
    }

    @inline(__always)
    mutating func takeSerial() -> UInt64 {
        defer { nextSerial &+= 1 }
        return nextSerial
    }

    /// No entry waits for an answer.
    @inline(__always)
    var isEmpty: Bool { index.count == 0 }

    /// The client is to be asked for this range, and was not yet.
    func isAsking(_ client: ClientNumber, _ request: LockRequest) -> Bool {
        find(client, request.offset, request.length) { $0 == .preparing || $0 == .queued || $0 == .sending } != nil
    }

    mutating func append(_ entry: LockEntryPointer) {
        entry.pointee.serial = takeSerial()
        let request = entry.pointee.request
        index.insert(link(entry), Ledger.key(entry.pointee.client, request.offset, request.length))
        entry.pointee.next = first
        first?.pointee.previous = entry
        first = entry
    }

    /// Out of the index: it cannot be answered (again).
    mutating func close(_ entry: LockEntryPointer) {
        index.remove(link(entry))
        entry.pointee.state = .sweeping
    }

    mutating func remove(_ entry: LockEntryPointer) {
        if entry.pointee.state != .sweeping { index.remove(link(entry)) }
        if let next = entry.pointee.next { next.pointee.previous = entry.pointee.previous }
        if let previous = entry.pointee.previous {
            previous.pointee.next = entry.pointee.next
        } else {
            first = entry.pointee.next
        }
        Memory.free(entry.pointee.given)
        if spareCount < Ledger.spareLimit { giveSpare(entry) } else { Memory.free(entry) }
    }

    /// The first entry with this key in one of these states.
    @inline(__always)
    func find(_ client: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t,
              _ wanted: (LockState) -> Bool) -> LockEntryPointer? {
        var link = index.find(Ledger.key(client, offset, length))
        while let candidate = link {
            let entry = UnsafeMutableRawPointer(candidate).assumingMemoryBound(to: LockEntry.self)
            if entry.pointee.client == client && entry.pointee.request.offset == offset
                && entry.pointee.request.length == length && wanted(entry.pointee.state) {
                return entry
            }
            link = index.findNext(candidate)
        }
        return nil
    }

    /// No record of the index comes behind it that could have its key.
    @inline(__always)
    func isLast(_ entry: LockEntryPointer) -> Bool { entry.pointee.link.next == nil }

    private func link(_ entry: LockEntryPointer) -> HashLinkPointer {
        UnsafeMutableRawPointer(entry).assumingMemoryBound(to: HashLink.self)
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// What the effects, `.flush` or `.downgrade`, ask of clients.
    @inline(__always)
    func lockRequest(_ page: UInt64, _ effects: Effects) -> LockRequest {
        let downgrade = effects.action == .downgrade
        return LockRequest(offset: offset(page), length: vm_size_t(truncatingIfNeeded: pageSize),
                           returns: effects.returnAll ? MEMORY_OBJECT_RETURN_ALL : MEMORY_OBJECT_RETURN_DIRTY, flush: !downgrade,
                           lock: downgrade ? VM_PROT_WRITE : VM_PROT_NO_CHANGE, page: page, isUsers: false)
    }

    /// The page, where a range is one.
    @inline(__always)
    func singlePage(_ offset: vm_offset_t, _ length: vm_size_t) -> UInt64? {
        widen(length) == pageSize && widen(offset) & (pageSize &- 1) == 0 ? page(offset) : nil
    }

    /// A batch is being sent to the client, for the same range. Locked.
    private func isSendingBatchLocked(_ number: ClientNumber, _ request: LockRequest) -> Bool {
        if locked.pointee.ledger.batches.first == nil { return false }
        return singlePage(request.offset, request.length).map { locked.pointee.ledger.batches.isSending($0, number) } ?? false
    }

    /// Asks a client; `outcome`: what decided on it, if a page did. false: it is gone and will not answer (and the user who waits was not
    /// told).
    func requestLock(_ number: ClientNumber, _ request: LockRequest, by outcome: Outcome? = nil) -> Bool {
        // So that the number means this client until the request is sent.
        let client = pointee.clients.client(number)
        if !client.acquire() { return false }
        defer { release(client) }
        if let outcome, !outcome.means(client, request.page, self) { return false }
        let asked = platform_clock_ms()
        let prepares = request.isUsers && request.flush
        if prepares { pointee.rangeFlushes.wrappingAdd(1, ordering: .sequentiallyConsistent) }

        let entry = lockWithSpare()
        // A client that is leaving has its entries taken away under this lock; after that none may come.
        if client.pointee.attached.load(ordering: .acquiring) == 0 {
            locked.pointee.ledger.giveSpare(entry)
            pointee.monitor.unlock()
            if prepares { pointee.rangeFlushes.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
            return false
        }
        entry.initialize(to: LockEntry(serial: 0, client: number, request: request, asked: asked))
        locked.pointee.ledger.append(entry)
        let serial = entry.pointee.serial
        if prepares { entry.pointee.state = .preparing }
        let isNext = prepares || becomeNextLocked(entry)
        pointee.monitor.unlock()
        if prepares ? prepare(number, request, serial) : isNext { send(number, request, serial) }
        return true
    }

    /// Takes the lock, with a record for an entry in hand.
    func lockWithSpare() -> LockEntryPointer {
        pointee.monitor.lock()
        while true {
            if let entry = locked.pointee.ledger.takeSpare() { return entry }
            pointee.monitor.unlock()
            let made = Memory.allocate(LockEntry.self, 1, .waits)
            pointee.monitor.lock()
            if let made { return made }
        }
    }

    /// The entry is to be sent: by the caller now (true), or by whoever is before it with the same key. Locked.
    @inline(__always)
    func becomeNextLocked(_ entry: LockEntryPointer) -> Bool {
        let request = entry.pointee.request
        let first = locked.pointee.ledger.find(entry.pointee.client, request.offset, request.length) {
            $0 == .preparing || $0 == .queued || $0 == .sending
        }
        let isNext = first == entry && !isSendingBatchLocked(entry.pointee.client, request)
        entry.pointee.state = isNext ? .sending : .queued
        return isNext
    }

    /// A user's flush: what is being sent now must be with the client before it. Whether the caller is to send it.
    private func prepare(_ number: ClientNumber, _ request: LockRequest, _ serial: UInt64) -> Bool {
        let known = awaitAnswersSent()
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        // Unless the client is gone, and whoever waits was told.
        var entry = locked.pointee.ledger.first
        while let candidate = entry, candidate.pointee.serial > serial { entry = candidate.pointee.next }
        guard let entry, entry.pointee.serial == serial else { return false }
        if !known { entry.pointee.givenUnknown = true }
        return becomeNextLocked(entry)
    }

    /// Sends this entry's request, and then those that queued up behind it (L1). Where sending fails the client is gone or
    /// given up, and its end is the answer.
    private func send(_ number: ClientNumber, _ first: LockRequest, _ firstSerial: UInt64) {
        sendLock(number, first)
        pointee.monitor.lock()
        let next = sentLocked(number, first, firstSerial)
        pointee.monitor.unlock()
        if let next { sendRest(next) }
    }

    /// The request of this entry was sent. Returns the entry that queued up behind it, which the caller is to send (L1). Locked.
    @inline(__always)
    func sentLocked(_ number: ClientNumber, _ request: LockRequest, _ serial: UInt64) -> QueuedLock? {
        // Unless it was answered already, or its client is gone (L3).
        if let entry = locked.pointee.ledger.find(number, request.offset, request.length, { $0 == .sending }),
           entry.pointee.serial == serial {
            entry.pointee.state = .sent
            if locked.pointee.ledger.isLast(entry) { return nil }
        }
        return nextLocked(number, request)
    }

    /// The entry with this key that is to be sent next, if that is the caller's to do. Locked.
    @inline(never)
    func nextLocked(_ number: ClientNumber, _ request: LockRequest) -> QueuedLock? {
        // Where ours was answered early, another thread may have begun to send behind it, and goes on with the rest.
        if isSendingBatchLocked(number, request) { return nil }
        let taken = locked.pointee.ledger.find(number, request.offset, request.length) { $0 == .sending } != nil
        // (One that prepares itself goes on with the rest, too.)
        guard !taken, let next = locked.pointee.ledger.find(number, request.offset, request.length, {
            $0 == .queued || $0 == .preparing
        }), next.pointee.state == .queued else { return nil }
        next.pointee.state = .sending
        return QueuedLock(client: number, request: next.pointee.request, serial: next.pointee.serial)
    }

    @inline(never)
    func sendRest(_ first: QueuedLock) {
        var queued: QueuedLock? = first
        while let next = queued {
            sendLock(next.client, next.request)
            pointee.monitor.lock()
            queued = sentLocked(next.client, next.request, next.serial)
            pointee.monitor.unlock()
        }
    }

    private func sendLock(_ number: ClientNumber, _ request: LockRequest) {
        let name = portName
        // A kernel may keep us in this call while it waits for something else from us.
        Worker.mayWait()
        send(number, page(request.offset)) {
            pager_control_memory_object_lock_request($0, request.offset, request.length, request.returns, request.flush ? 1 : 0,
                                                     request.lock, name)
        }
    }

    /// An entry goes without an answer. Locked.
    func forgetLocked(_ entry: LockEntryPointer) {
        if entry.pointee.request.isUsers && entry.pointee.request.flush {
            pointee.rangeFlushes.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        }
        locked.pointee.ledger.remove(entry)
    }

    /// The client may have the page from now on.
    @inline(never)
    func noteGiven(_ number: ClientNumber, _ page: UInt64) {
        pointee.monitor.lock()
        var entry = locked.pointee.ledger.first
        while let candidate = entry {
            let request = candidate.pointee.request
            if candidate.pointee.client == number && request.isUsers && request.flush
                && self.page(request.offset) <= page && page <= self.page(request.offset &+ (request.length &- 1)) {
                candidate.pointee.noteGiven(page)
            }
            entry = candidate.pointee.next
        }
        pointee.monitor.unlock()
    }
}
