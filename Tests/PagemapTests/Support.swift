// What the page map's tests share: random numbers that can be repeated, a check for leaks, a plain model of a page's
// state and operations on any representation of it.

import CPlatform
import XCTest
@testable import Pager

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    mutating func chance(_ oneIn: Int) -> Bool { below(oneIn) == 0 }
}

/// Each test gives back all the platform's memory that it took.
class PagemapTestCase: XCTestCase {
    private var blocks = 0

    override func setUp() {
        super.setUp()
        continueAfterFailure = false
        blocks = platform_allocated_blocks()
    }

    override func tearDown() {
        platform_fail_allocation(-1)
        XCTAssertEqual(platform_allocated_blocks(), blocks, "blocks that were not freed")
        super.tearDown()
    }

    func withTable(_ clients: Int = 4, keeping limit: Int = 0, _ body: (DescriptorTable) throws -> Void) rethrows {
        let table = DescriptorTable.create(keeping: limit)!
        defer { table.destroy() }
        XCTAssertTrue(table.reserve(clients: clients))
        try body(table)
        assertHolds(table.violation())
    }

    func withScratch(_ clients: Int = 4, _ body: (inout ScratchState) throws -> Void) rethrows {
        var scratch = ScratchState.create()!
        defer { scratch.destroy() }
        XCTAssertTrue(scratch.reserve(clients: clients))
        try body(&scratch)
    }

    func withMap(_ body: (PageMap) throws -> Void) rethrows {
        let map = PageMap.create()!
        defer { map.destroy() }
        try body(map)
        assertHolds(map.violation())
    }

    func assertHolds(_ violation: StaticString?, file: StaticString = #filePath, line: UInt = #line) {
        if let violation { XCTFail("\(violation)", file: file, line: line) }
    }
}

let allAccess: [Access] = [.none, .read, .revoking, .write]
let allActivities: [Activity] = [.idle, .pagingIn, .pagingOut, .unlocking, .sending, .downgrading, .flushing, .notifying]
/// The errors that a word can say, in the order of the field's values.
let wordErrors: [Int32] = [0, Errno.io, Errno.noSpace, Errno.quota]

/// All that can be asked of a state, for comparing and for printing.
struct StateDump: Equatable {
    var activity: Activity
    var isHeld, isInvalid, isWriteLocked: Bool
    var error: Int32
    var access: [Access]
    var pending: [Int32]
    var hasHoldersExcept: [Bool]
    var isAccessEmpty, hasOutstanding, isQueueEmpty: Bool
    var writer: ClientNumber
    var queueCount, leadingReaders: Int
    var queue: [Waiter]

    /// `clients`: how many numbers are asked for; the first one that cannot have anything is asked as well.
    init<S: InspectableState>(_ s: S, clients: ClientNumber) {
        activity = s.activity
        isHeld = s.isHeld
        isInvalid = s.isInvalid
        isWriteLocked = s.isWriteLocked
        error = s.error
        access = (0...clients).map { s.access(of: $0) } + [s.access(of: noClient)]
        pending = (0...clients).map { s.pendingError(of: $0) }
        hasHoldersExcept = (0...clients).map { s.hasHolders(except: $0) } + [s.hasHolders(except: noClient)]
        isAccessEmpty = s.isAccessEmpty
        hasOutstanding = s.hasOutstanding
        isQueueEmpty = s.isQueueEmpty
        writer = s.writer
        queueCount = s.queueCount
        leadingReaders = s.leadingReaders
        queue = (0..<s.queueCount).map { s.waiter(at: $0) }
        if let first = queue.first { XCTAssertEqual(s.head, first) }
    }
}

protocol InspectableState: PageState {
    func waiter(at index: Int) -> Waiter
}

extension WordState: InspectableState {}
extension ScratchState: InspectableState {}

/// What PageState.swift says, as plainly as can be: the judge of both representations.
struct ModelState: InspectableState {
    var overflowed: Bool { false }
    var activity = Activity.idle
    var isHeld = false, isInvalid = false, isWriteLocked = false
    var error: Int32 = 0 { didSet { if error == 0 { isInvalid = false } } }
    var accessOf: [ClientNumber: Access] = [:]
    var pendingOf: [ClientNumber: Int32] = [:]
    var queue: [Waiter] = []

    func pendingError(of client: ClientNumber) -> Int32 { pendingOf[client] ?? 0 }
    mutating func setPendingError(_ code: Int32, of client: ClientNumber) {
        pendingOf[client] = code == 0 ? nil : code
    }
    func access(of client: ClientNumber) -> Access { accessOf[client] ?? .none }
    mutating func setAccess(_ access: Access, of client: ClientNumber) {
        accessOf[client] = access == .none ? nil : access
    }
    var isAccessEmpty: Bool { accessOf.isEmpty }
    func hasHolders(except client: ClientNumber) -> Bool { accessOf.keys.contains { $0 != client } }
    var writer: ClientNumber { accessOf.filter { $0.value == .write }.keys.min() ?? noClient }
    var hasOutstanding: Bool { accessOf.values.contains { $0 == .write || $0 == .revoking } }

    mutating func revokeAll(except client: ClientNumber) {
        let others = accessOf.keys.filter { $0 != client }
        for other in others {
            if accessOf[other] == .read { accessOf[other] = .revoking }
            queue.removeAll { $0.client == other && $0.write }
        }
    }

    var isQueueEmpty: Bool { queue.isEmpty }
    var queueCount: Int { queue.count }
    var head: Waiter { queue[0] }
    func waiter(at index: Int) -> Waiter { queue[index] }
    var leadingReaders: Int { queue.prefix { !$0.write && access(of: $0.client) == .none }.count }

    mutating func enqueue(_ waiter: Waiter) {
        if let index = queue.firstIndex(where: { $0.client == waiter.client }) {
            if waiter.write { queue[index].write = true }
        } else {
            queue.append(waiter)
        }
    }

    mutating func removeWaiter(_ client: ClientNumber) { queue.removeAll { $0.client == client } }
    mutating func removeUnlock(of client: ClientNumber) { queue.removeAll { $0.client == client && $0.write } }
    mutating func removeFirst(_ count: Int) { queue.removeFirst(count) }

    mutating func grantFirst(_ count: Int, _ access: Access) {
        for waiter in queue.prefix(count) { setAccess(access, of: waiter.client) }
        queue.removeFirst(count)
    }
}

/// One change of a state, for any representation.
enum Operation: Equatable {
    case activity(Activity), held(Bool), invalid(Bool), writeLocked(Bool), error(Int32)
    case pending(Int32, ClientNumber), access(Access, ClientNumber), revokeAll(ClientNumber)
    case enqueue(Waiter), removeWaiter(ClientNumber), removeUnlock(ClientNumber), removeFirst(Int), grantFirst(Int, Access)

    /// `wild`: also errors that no word can say, and pending errors.
    static func random(_ random: inout SeededRandom, clients: Int, queueCount: Int, wild: Bool) -> Operation {
        let client = ClientNumber(random.below(clients))
        let anyone = random.chance(8) ? noClient : client
        switch random.below(17) {
        case 0: return .activity(allActivities[random.below(8)])
        case 1: return .held(random.chance(2))
        case 2: return .invalid(random.chance(2))
        case 3: return .writeLocked(random.chance(2))
        case 4:
            let odd = wild && random.chance(3)
            return .error(odd ? Int32(truncatingIfNeeded: random.next()) : wordErrors[random.below(4)])
        case 5: return .pending(wild && random.chance(2) ? Int32(random.below(200)) - 100 : 0, client)
        case 6, 7, 8: return .access(allAccess[random.below(4)], client)
        case 9: return .revokeAll(anyone)
        case 10, 11, 12: return .enqueue(Waiter(client: client, write: random.chance(2)))
        case 13: return .removeWaiter(anyone)
        case 14: return .removeUnlock(anyone)
        case 15: return .removeFirst(random.below(queueCount + 1))
        default: return .grantFirst(random.below(queueCount + 1), allAccess[random.below(4)])
        }
    }

    func apply<S: PageState>(_ s: inout S) {
        switch self {
        case .activity(let activity): s.activity = activity
        case .held(let held): s.isHeld = held
        case .invalid(let invalid): s.isInvalid = invalid
        case .writeLocked(let locked): s.isWriteLocked = locked
        case .error(let code): s.error = code
        case .pending(let code, let client): s.setPendingError(code, of: client)
        case .access(let access, let client): s.setAccess(access, of: client)
        case .revokeAll(let client): s.revokeAll(except: client)
        case .enqueue(let waiter): s.enqueue(waiter)
        case .removeWaiter(let client): s.removeWaiter(client)
        case .removeUnlock(let client): s.removeUnlock(of: client)
        case .removeFirst(let count): s.removeFirst(count)
        case .grantFirst(let count, let access): s.grantFirst(count, access)
        }
    }
}
