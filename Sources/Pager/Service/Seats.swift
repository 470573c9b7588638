// Seats: reads of the short way that run at once, without anything that two threads change in turn.
//
// Where a translator lets several `pager_read_page` run at once, there are as many seats, each in cache lines of its own. A thread that has a seat
// does with it what one that has the executor does with the executor's word, a reference of the client and the counter of answers:
//
//   S1  A taken seat is a read that runs. Seats and the executor's reads together are never more than the translator allows. Whoever takes
//       a seat looks at the executor afterwards, and gives the seat back if jobs wait or reads of the long way run; whoever counts a read, or
//       says that jobs wait, does so before he looks at the seats. Of two, one sees the other.
//   S2  Who leaves a seat looks whether jobs wait, and takes one along (as with the executor).
//   S3  A seat keeps a reference of the client that was served last. `dropClient` takes back those of a client that is leaving: at once from a free
//       seat, else whoever has the seat gives it up with the seat. Who takes a reference into a seat looks afterwards whether the client leaves.
//   S4  While an answer is being sent the seat says in which phase it began (Answering.swift).
//
// What is unusual (a callback that waits, a failure, a next waiter) goes on under the executor, which takes the seat's place.

import CPlatform
import Synchronization

struct Seat: ~Copyable {
    enum State {
        static let free: UInt32 = 0, taken: UInt32 = 1
        /// Taken, and the client's reference goes with it.
        static let dropping: UInt32 = 3
    }

    let state = Atomic<UInt32>(State.free)
    /// The phase of the answer that is being sent, and 1; 0: none is.
    let answering = Atomic<UInt32>(0)
    /// Whose reference the seat has; 0: nobody's. Changes only while the seat is taken, by whoever has it.
    let client = Atomic<UInt>(0)
    // Counted by whoever has the seat.
    let pageIns = Atomic<UInt>(0)
    let supplies = Atomic<UInt>(0)
}

typealias SeatPointer = UnsafeMutablePointer<Seat>

/// Handle of a pager's seats.
struct Seats {
    private struct Header: ~Copyable {
        var block: UnsafeMutableRawPointer
        /// Seats that there are, and how many of them may be taken.
        let count: Int
        let usable: Atomic<Int>
    }

    private let header: UnsafeMutablePointer<Header>

    /// Bytes between two seats: two cache lines, since they are fetched in pairs.
    private static let stride = 128

    /// nil: memory is exhausted.
    static func create(_ count: Int) -> Seats? {
        guard let header = Memory.allocate(Header.self, 1) else { return nil }
        guard let block = Memory.allocateBytes((count + 1) * stride) else {
            Memory.free(header)
            return nil
        }
        header.initialize(to: Header(block: block, count: count, usable: Atomic(count)))
        return Seats(header: header)
    }

    private init(header: UnsafeMutablePointer<Header>) { self.header = header }

    /// As `address` gives it.
    @inline(__always)
    init?(_ address: UInt) {
        guard let header = UnsafeMutablePointer<Header>(bitPattern: address) else { return nil }
        self.header = header
    }

    var address: UInt { UInt(bitPattern: header) }

    func destroy() {
        platform_free(header.pointee.block)
        Memory.free(header)
    }

    /// At most so many may be taken from now on.
    func limit(_ count: Int) { header.pointee.usable.store(min(count, header.pointee.count), ordering: .relaxed) }

    @inline(__always)
    func seat(_ index: Int) -> SeatPointer {
        // The block is aligned to 16 bytes: the first seat lies at the next whole stride.
        let aligned = (UInt(bitPattern: header.pointee.block) &+ UInt(Seats.stride - 1)) & ~UInt(Seats.stride - 1)
        return SeatPointer(bitPattern: aligned &+ UInt(bitPattern: index &* Seats.stride)).unsafelyUnwrapped
    }

    func forEach(_ body: (SeatPointer) -> Void) {
        for index in 0..<header.pointee.count { body(seat(index)) }
    }

    /// Seats that are taken.
    var taken: UInt32 {
        var taken: UInt32 = 0
        forEach { if $0.pointee.state.load(ordering: .sequentiallyConsistent) != Seat.State.free { taken += 1 } }
        return taken
    }

    func answers(_ phase: UInt32) -> UInt32 {
        var answers: UInt32 = 0
        forEach { if $0.pointee.answering.load(ordering: .sequentiallyConsistent) == phase + 1 { answers += 1 } }
        return answers
    }

    /// A free seat; each thread begins to look at another one.
    @inline(__always)
    func takeFree() -> SeatPointer? {
        let number = Int(truncatingIfNeeded: platform_thread_number())
        if number < header.pointee.usable.load(ordering: .relaxed) && seat(number).take() { return seat(number) }
        return takeAny(number)
    }

    @inline(never)
    private func takeAny(_ number: Int) -> SeatPointer? {
        let usable = header.pointee.usable.load(ordering: .relaxed)
        for place in 0..<usable {
            let seat = seat((number + place) % usable)
            if seat.take() { return seat }
        }
        return nil
    }
}

extension SeatPointer {
    @inline(__always)
    fileprivate func take() -> Bool {
        pointee.state.compareExchange(expected: Seat.State.free, desired: Seat.State.taken, ordering: .sequentiallyConsistent).exchanged
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// nil: reads run one at a time, or there was no memory for seats.
    @inline(__always)
    var seats: Seats? { Seats(pointee.seats.load(ordering: .acquiring)) }

    /// So many reads may run at once. No client has asked for anything yet.
    func allowReads(_ count: UInt32) {
        // (Without memory for seats all reads take the long way.)
        if count > 1 && seats == nil { pointee.seats.store(Seats.create(Int(count))?.address ?? 0, ordering: .releasing) }
        seats?.limit(count > 1 ? Int(count) : 0)
        pointee.concurrentReads.store(count, ordering: .relaxed)
    }

    /// Reads of the short way that run. Of use under the lock, and where the caller has said what he is up to before (S1).
    var takenSeats: UInt32 { seats?.taken ?? 0 }

    /// A seat for a read that begins now. nil: none is free, or the long way comes first.
    @inline(__always)
    func takeSeat(_ seats: Seats) -> SeatPointer? {
        guard let seat = seats.takeFree() else { return nil }
        if pointee.executor.load(ordering: .sequentiallyConsistent) & (Executor.waiting | Executor.readsMask) == 0 { return seat }
        leaveSeat(seat)
        return nil
    }

    /// The caller looks at jobs that wait (S2).
    @inline(__always)
    func leaveSeat(_ seat: SeatPointer) {
        if !seat.pointee.state.compareExchange(expected: Seat.State.taken, desired: Seat.State.free,
                                               ordering: .sequentiallyConsistent).exchanged { dropAndLeave(seat) }
    }

    @inline(never)
    private func dropAndLeave(_ seat: SeatPointer) {
        if let client = ClientPointer(bitPattern: seat.pointee.client.exchange(0, ordering: .relaxed)) { release(client) }
        seat.pointee.state.store(Seat.State.free, ordering: .sequentiallyConsistent)
    }

    /// What the seat stood for the executor stands for now.
    @inline(never)
    func moveToExecutor(_ seat: SeatPointer) {
        // (In this order: somebody may count the read twice, nobody misses it.)
        pointee.executor.wrappingAdd(Executor.unit(.read), ordering: .sequentiallyConsistent)
        leaveSeat(seat)
    }

    /// The client's names stay while the seat is taken. false: it is gone.
    @inline(__always)
    func hold(_ client: ClientPointer, in seat: SeatPointer) -> Bool {
        seat.pointee.client.load(ordering: .relaxed) == UInt(bitPattern: client) || holdAnew(client, seat)
    }

    @inline(never)
    private func holdAnew(_ client: ClientPointer, _ seat: SeatPointer) -> Bool {
        if let last = ClientPointer(bitPattern: seat.pointee.client.exchange(0, ordering: .relaxed)) { release(last) }
        if !client.acquire() { return false }
        seat.pointee.client.store(UInt(bitPattern: client), ordering: .sequentiallyConsistent)
        if client.pointee.attached.load(ordering: .sequentiallyConsistent) == 0 {
            seat.pointee.state.store(Seat.State.dropping, ordering: .sequentiallyConsistent)
        }
        return true
    }

    /// The client is leaving: no seat is to keep its names. It is not attached any more, and the caller has a reference.
    func dropClient(_ client: ClientPointer) {
        guard let seats else { return }
        seats.forEach { seat in
            while seat.pointee.client.load(ordering: .sequentiallyConsistent) == UInt(bitPattern: client) {
                if seat.pointee.state.compareExchange(expected: Seat.State.free, desired: Seat.State.dropping,
                                                      ordering: .sequentiallyConsistent).exchanged {
                    dropAndLeave(seat)
                    return
                }
                let (marked, state) = seat.pointee.state.compareExchange(
                    expected: Seat.State.taken, desired: Seat.State.dropping, ordering: .sequentiallyConsistent)
                if marked || state == Seat.State.dropping { return }
            }
        }
        // (Somebody may have found a seat taken by us.)
        if pointee.executor.load(ordering: .sequentiallyConsistent) & Executor.waiting != 0 { runJobs() }
    }
}
