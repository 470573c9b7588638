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
    fileprivate var likely: UnsafeMutablePointer<BatchedClient>?
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

struct BatchedClient {
    fileprivate(set) var number: ClientNumber
    /// Not 0: it has answered, or is gone. Locked.
    fileprivate var isDone: UInt32 = 0
    /// With a reference until its request is sent.
    let client: ClientPointer
}

typealias LockBatchPointer = UnsafeMutablePointer<LockBatch>
typealias BatchedClientPointer = UnsafeMutablePointer<BatchedClient>

extension LockBatchPointer {
    /// Behind the record, by ascending numbers; then one with a number that is nobody's.
    @inline(__always)
    fileprivate var clients: BatchedClientPointer {
        (UnsafeMutableRawPointer(self) + MemoryLayout<LockBatch>.stride).assumingMemoryBound(to: BatchedClient.self)
    }

    fileprivate static func bytes(_ capacity: UInt32) -> Int {
        // (One more is looked at: `likely` behind the last.)
        MemoryLayout<LockBatch>.stride + Int(capacity + 1) * MemoryLayout<BatchedClient>.stride
    }

    @inline(__always)
    func number(at place: UInt32) -> ClientNumber { clients[Int(place)].number }

    @inline(__always)
    func client(at place: UInt32) -> ClientPointer { clients[Int(place)].client }

    @inline(__always)
    fileprivate func noteAnswer(_ client: BatchedClientPointer) {
        client.pointee.isDone = 1
        pointee.left &-= 1
        pointee.likely = client + 1
    }

    /// The numbers come in ascending order; there is room.
    @inline(__always)
    func append(_ number: ClientNumber, _ client: ClientPointer) {
        let place = pointee.count
        assert(place < pointee.capacity && (place == 0 || clients[Int(place) - 1].number < number))
        (clients + Int(place)).initialize(to: BatchedClient(number: number, client: client))
        pointee.count = place &+ 1
    }

    /// The client, if it has not answered. nil: it is not among them, or has.
    @inline(__always)
    fileprivate func find(_ client: ClientNumber) -> BatchedClientPointer? {
        if let likely = pointee.likely, likely.pointee.number == client { return likely.pointee.isDone == 0 ? likely : nil }
        return search(client)
    }

    @inline(never)
    private func search(_ client: ClientNumber) -> BatchedClientPointer? {
        var low: UInt32 = 0, high = pointee.count
        while low < high {
            let middle = (low + high) / 2
            if clients[Int(middle)].number < client { low = middle + 1 } else { high = middle }
        }
        let found = clients + Int(low)
        return low < pointee.count && found.pointee.number == client && found.pointee.isDone == 0 ? found : nil
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
        batch.pointee.left = batch.pointee.count
        batch.pointee.likely = batch.clients
        batch.clients[Int(batch.pointee.count)].number = noClient
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

    /// The batch from which this client has not answered for this page, and the client there.
    @inline(__always)
    func find(_ page: UInt64, _ client: ClientNumber) -> (batch: LockBatchPointer, client: BatchedClientPointer)? {
        var link = index.find(page)
        while let candidate = link {
            let batch = UnsafeMutableRawPointer(candidate).assumingMemoryBound(to: LockBatch.self)
            if let found = batch.find(client) { return (batch, found) }
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
    mutating func answer(_ batch: LockBatchPointer, _ client: BatchedClientPointer) {
        batch.noteAnswer(client)
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
            if let found = one.find(client) { answer(one, found) }
        }
    }

    /// A client that has not answered what it was asked by then.
    func silent(since time: UInt64) -> ClientNumber {
        var batch = first
        while let one = batch {
            if one.pointee.asked <= time {
                for index in 0..<Int(one.pointee.count) where one.clients[index].isDone == 0 { return one.clients[index].number }
            }
            batch = one.pointee.next
        }
        return noClient
    }
}
