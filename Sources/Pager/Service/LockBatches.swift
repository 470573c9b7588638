// Lock requests of the protocol's for one page, to all clients that have to give it up: one record for all of them.
//
// Guarantees (with L1-L3 of Ledger.swift):
//   B1  A client of a batch was being asked nothing else for that range when the batch was made (nothing was queued, prepared, or being sent),
//       and nothing else is sent to it for that range until the batch is sent: whoever comes meanwhile queues up.
//   B2  A batch is found by its page until all of its clients have answered, or are gone. Its record stays until its sender is done with it as
//       well: that thread looks at the clients, which do not change, without the lock.
// All else is done under the pager's lock.

import CPlatform

enum BatchState: UInt8 {
    case sending
    /// Its sender sends what queued up behind it.
    case sendingBehind
    case sent
}

struct LockBatch {
    var link = HashLink(next: nil, key: 0)
    fileprivate(set) var previous: LockBatchPointer?
    fileprivate(set) var next: LockBatchPointer?
    fileprivate let capacity: UInt32
    /// How many clients, and how many have not answered.
    fileprivate(set) var count: UInt32 = 0
    fileprivate var left: UInt32 = 0
    /// Who answers next, if they answer in the order in which they were asked.
    fileprivate var likely: UInt32 = 0
    fileprivate(set) var state = BatchState.sending
    /// Among those of `LockEntry`s.
    var serial: UInt64 = 0
    let request: LockRequest
    /// When, in milliseconds.
    let asked: UInt64

    fileprivate init(_ request: LockRequest, capacity: UInt32, asked: UInt64) {
        self.request = request
        self.capacity = capacity
        self.asked = asked
    }
}

typealias LockBatchPointer = UnsafeMutablePointer<LockBatch>

extension LockBatchPointer {
    /// Behind the record: the clients' numbers, ascending, ...
    @inline(__always)
    var clients: UnsafeMutablePointer<ClientNumber> {
        (UnsafeMutableRawPointer(self) + MemoryLayout<LockBatch>.stride).assumingMemoryBound(to: ClientNumber.self)
    }

    /// ... and a bit for each: it has answered.
    @inline(__always)
    private var answered: UnsafeMutablePointer<UInt32> { clients + Int(pointee.capacity) }

    @inline(__always)
    fileprivate func hasAnswered(_ place: UInt32) -> Bool { answered[Int(place &>> 5)] &>> (place & 31) & 1 != 0 }

    @inline(__always)
    fileprivate func noteAnswer(_ place: UInt32) {
        answered[Int(place &>> 5)] |= 1 &<< (place & 31)
        pointee.left &-= 1
        pointee.likely = place &+ 1
    }

    static func bytes(_ capacity: UInt32) -> Int {
        MemoryLayout<LockBatch>.stride + Int(capacity + (capacity + 31) / 32) * MemoryLayout<UInt32>.stride
    }

    /// The numbers come in ascending order; there is room.
    @inline(__always)
    func append(_ client: ClientNumber) {
        let place = pointee.count
        assert(place < pointee.capacity && (place == 0 || clients[Int(place) - 1] < client))
        clients[Int(place)] = client
        if place & 31 == 0 { answered[Int(place &>> 5)] = 0 }
        pointee.count = place &+ 1
        pointee.left = place &+ 1
    }

    /// The place of a client that has not answered. nil: it is not among them, or has.
    @inline(__always)
    func place(_ client: ClientNumber) -> UInt32? {
        let likely = pointee.likely
        if likely < pointee.count && clients[Int(likely)] == client { return hasAnswered(likely) ? nil : likely }
        return search(client)
    }

    @inline(never)
    private func search(_ client: ClientNumber) -> UInt32? {
        var low: UInt32 = 0, high = pointee.count
        while low < high {
            let middle = (low + high) / 2
            if clients[Int(middle)] < client { low = middle + 1 } else { high = middle }
        }
        return low < pointee.count && clients[Int(low)] == client && !hasAnswered(low) ? low : nil
    }
}

/// Locked.
struct LockBatches {
    private var index = HashIndex()
    private(set) var first: LockBatchPointer?
    /// Records that nobody uses, by size, linked through `next`.
    private var small = Spares(), large = Spares()

    private struct Spares {
        var first: LockBatchPointer?
        var count = 0
        static let limit = 16

        @inline(__always)
        mutating func take() -> LockBatchPointer? {
            guard let batch = first else { return nil }
            first = batch.pointee.next
            count -= 1
            return batch
        }

        /// false: there are enough.
        @inline(__always)
        mutating func give(_ batch: LockBatchPointer) -> Bool {
            if count == Spares.limit { return false }
            batch.pointee.next = first
            first = batch
            count += 1
            return true
        }
    }

    private static let smallCapacity: UInt32 = 4, largeCapacity: UInt32 = 64

    mutating func destroy() {
        while let batch = first { remove(batch) }
        while let batch = small.take() ?? large.take() { Memory.free(batch) }
        index.destroy()
    }

    /// An empty batch for so many clients. nil: memory is exhausted.
    @inline(__always)
    mutating func make(_ count: UInt32, _ request: LockRequest, asked: UInt64) -> LockBatchPointer? {
        let capacity = count <= LockBatches.smallCapacity ? LockBatches.smallCapacity : max(count, LockBatches.largeCapacity)
        let spare = capacity == LockBatches.smallCapacity ? small.take() : capacity == LockBatches.largeCapacity ? large.take() : nil
        guard let batch = spare ?? LockBatches.allocate(capacity) else { return nil }
        batch.initialize(to: LockBatch(request, capacity: capacity, asked: asked))
        return batch
    }

    @inline(never)
    private static func allocate(_ capacity: UInt32) -> LockBatchPointer? {
        Memory.allocateBytes(LockBatchPointer.bytes(capacity))?.assumingMemoryBound(to: LockBatch.self)
    }

    private mutating func free(_ batch: LockBatchPointer) {
        let isKept = batch.pointee.capacity == LockBatches.smallCapacity ? small.give(batch)
            : batch.pointee.capacity == LockBatches.largeCapacity ? large.give(batch) : false
        if !isKept { Memory.free(batch) }
    }

    /// Of a batch without clients.
    mutating func giveBack(_ batch: LockBatchPointer) { free(batch) }

    /// It is going to be sent.
    @inline(__always)
    mutating func insert(_ batch: LockBatchPointer) {
        index.insert(UnsafeMutableRawPointer(batch).assumingMemoryBound(to: HashLink.self), batch.pointee.request.page)
        batch.pointee.next = first
        first?.pointee.previous = batch
        first = batch
    }

    private mutating func remove(_ batch: LockBatchPointer) {
        index.remove(UnsafeMutableRawPointer(batch).assumingMemoryBound(to: HashLink.self))
        if let next = batch.pointee.next { next.pointee.previous = batch.pointee.previous }
        if let previous = batch.pointee.previous { previous.pointee.next = batch.pointee.next } else { first = batch.pointee.next }
        free(batch)
    }

    /// The batch from which this client has not answered for this page, and its place there.
    @inline(__always)
    func find(_ page: UInt64, _ client: ClientNumber) -> (batch: LockBatchPointer, place: UInt32)? {
        var link = index.find(page)
        while let candidate = link {
            let batch = UnsafeMutableRawPointer(candidate).assumingMemoryBound(to: LockBatch.self)
            if let place = batch.place(client) { return (batch, place) }
            // (An older one may not have been sent to all.)
            link = index.findNext(candidate)
        }
        return nil
    }

    /// The client is being asked for the page, and nothing else may be sent to it for that (B1).
    func isSending(_ page: UInt64, _ client: ClientNumber) -> Bool {
        guard let (batch, _) = find(page, client) else { return false }
        return batch.pointee.state == .sending
    }

    func noteSendingBehind(_ batch: LockBatchPointer) { batch.pointee.state = .sendingBehind }

    /// The client there has answered.
    @inline(__always)
    mutating func answer(_ batch: LockBatchPointer, _ place: UInt32) {
        batch.noteAnswer(place)
        if batch.pointee.left == 0 && batch.pointee.state == .sent { remove(batch) }
    }

    /// Its sender is done with it.
    @inline(__always)
    mutating func sent(_ batch: LockBatchPointer) {
        batch.pointee.state = .sent
        if batch.pointee.left == 0 { remove(batch) }
    }

    /// The client is gone.
    mutating func forget(_ client: ClientNumber) {
        var batch = first
        while let one = batch {
            batch = one.pointee.next
            if let place = one.place(client) { answer(one, place) }
        }
    }

    /// A client that has not answered what it was asked by then.
    func silent(since time: UInt64) -> ClientNumber {
        var batch = first
        while let one = batch {
            if one.pointee.asked <= time {
                for place in 0..<one.pointee.count where !one.hasAnswered(place) { return one.clients[Int(place)] }
            }
            batch = one.pointee.next
        }
        return noClient
    }
}
