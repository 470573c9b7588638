// The two representations of a page's state mean the same, and the wide one takes over exactly where the word ends.

import CPlatform
import XCTest
@testable import Pager

final class StateTests: PagemapTestCase {
    func testWordAndScratchAndModelBehaveAlikeUnderRandomOperations() {
        var random = SeededRandom(1)
        withScratch(8) { scratch in
            var word = WordState(.resting), model = ModelState()
            var overflows = 0
            for step in 0..<100_000 {
                let before = word.word, modelBefore = model
                let operation = Operation.random(&random, clients: random.chance(20) ? 7 : 4,
                                                 queueCount: word.queueCount, wild: random.chance(20))
                operation.apply(&word)
                operation.apply(&scratch)
                operation.apply(&model)
                XCTAssertFalse(scratch.overflowed)
                let dump = StateDump(scratch, clients: 8)
                XCTAssertEqual(dump, StateDump(model, clients: 8), "step \(step): \(operation)")
                // The word ends exactly where the content does not fit one.
                XCTAssertEqual(word.overflowed, !scratch.fitsWord, "step \(step): \(operation)")
                if word.overflowed {
                    overflows += 1
                    XCTAssertNil(scratch.asWord())
                    word = WordState(before)
                    model = modelBefore
                    scratch.load(before)
                } else {
                    XCTAssertEqual(dump, StateDump(word, clients: 8), "step \(step): \(operation)")
                    XCTAssertEqual(scratch.asWord(), word.word, "step \(step): \(operation)")
                }
            }
            XCTAssertGreaterThan(overflows, 1000)
            XCTAssertLessThan(overflows, 50_000)
        }
    }

    func testScratchFollowsTheModelWithManyClients() {
        for (seed, clients) in [(2, 5), (3, 12), (4, 40)] {
            var random = SeededRandom(UInt64(seed))
            withScratch(clients) { scratch in
                var model = ModelState()
                for step in 0..<20_000 {
                    let operation = Operation.random(&random, clients: clients, queueCount: model.queueCount, wild: true)
                    operation.apply(&scratch)
                    operation.apply(&model)
                    XCTAssertEqual(StateDump(scratch, clients: UInt32(clients)),
                                   StateDump(model, clients: UInt32(clients)), "seed \(seed) step \(step): \(operation)")
                    if !(model.isInvalid && model.error == 0) { assertHolds(scratch.content.violation()) }
                }
            }
        }
    }

    func testGrantingToAHundredWaitersInReverseOrderKeepsTheAccessSetSorted() {
        withScratch(200) { s in
            for client in stride(from: UInt32(1), to: 200, by: 2) { s.setAccess(.read, of: client) }
            for client in stride(from: Int32(198), through: 0, by: -2) {
                s.enqueue(Waiter(client: UInt32(client), write: false))
            }
            s.activity = .sending
            XCTAssertEqual(s.leadingReaders, 100)
            s.grantFirst(60, .read)
            assertHolds(s.violation())
            XCTAssertEqual(s.content.accessCount, 160)
            XCTAssertEqual(s.queueCount, 40)
            XCTAssertEqual(s.head, Waiter(client: 78, write: false))
            s.grantFirst(40, .read)
            assertHolds(s.violation())
            XCTAssertEqual((0..<200).map { s.content.accessEntry(at: $0) },
                           (0..<200).map { AccessEntry(client: $0, access: .read) })
        }
    }

    // Where the word ends.

    private func overflows(_ start: (inout WordState) -> Void = { _ in }, _ change: (inout WordState) -> Void) -> Bool {
        var s = WordState(.resting)
        start(&s)
        XCTAssertFalse(s.overflowed)
        change(&s)
        return s.overflowed
    }

    func testAFifthClientGoesToADescriptor() {
        for access in [Access.read, .revoking, .write] {
            XCTAssertFalse(overflows { $0.setAccess(access, of: 3) })
            XCTAssertTrue(overflows { $0.setAccess(access, of: 4) })
            XCTAssertTrue(overflows { $0.setAccess(access, of: PackedEntry.maximumClient) })
        }
        XCTAssertFalse(overflows { $0.enqueue(Waiter(client: 3, write: true)) })
        XCTAssertTrue(overflows { $0.enqueue(Waiter(client: 4, write: true)) })
    }

    func testWhatAFifthClientDoesNotHaveStaysInTheWord() {
        XCTAssertFalse(overflows { $0.setAccess(.none, of: 4) })
        XCTAssertFalse(overflows { $0.removeWaiter(4) })
        XCTAssertFalse(overflows { $0.revokeAll(except: 4) })
        XCTAssertFalse(overflows { $0.setPendingError(0, of: 4) })
        XCTAssertFalse(overflows { _ = $0.access(of: 4) })
    }

    func testAnyOtherErrorThanTheThreeGoesToADescriptor() {
        for code in wordErrors { XCTAssertFalse(overflows { $0.error = code }) }
        for code in [1, 13, -1, Int32.max, Int32.min, Errno.noMemory] { XCTAssertTrue(overflows { $0.error = code }) }
    }

    func testAPendingErrorGoesToADescriptor() {
        for code in [Errno.io, 1] { XCTAssertTrue(overflows { $0.setPendingError(code, of: 0) }) }
    }

    func testAWriteLockTogetherWithAnErrorGoesToADescriptor() {
        XCTAssertTrue(overflows({ $0.isWriteLocked = true }) { $0.error = Errno.io })
        XCTAssertTrue(overflows({ $0.error = Errno.io }) { $0.isWriteLocked = true })
        XCTAssertTrue(overflows({ $0.error = Errno.io; $0.isInvalid = true }) { $0.isWriteLocked = true })
        XCTAssertFalse(overflows({ $0.isWriteLocked = true }) { $0.error = 0 })
        XCTAssertFalse(overflows({ $0.error = Errno.io }) { $0.isWriteLocked = false })
        XCTAssertFalse(overflows({ $0.error = Errno.io }) { $0.isInvalid = true })
        // Invalid without an error is no state at all.
        XCTAssertTrue(overflows { $0.isInvalid = true })
    }

    // To and fro.

    func testEveryQuietWordLoadsAndComesBackAsItself() {
        withScratch { scratch in
            var random = SeededRandom(5)
            for queue in WordTests.everyQueue {
                for _ in 0..<20 {
                    var s = WordState(.resting)
                    for waiter in queue { s.enqueue(waiter) }
                    for client in 0..<UInt32(4) { s.setAccess(allAccess[random.below(4)], of: client) }
                    s.activity = allActivities[random.below(8)]
                    s.error = wordErrors[random.below(4)]
                    if s.error != 0 { s.isInvalid = random.chance(2) } else { s.isWriteLocked = random.chance(2) }
                    s.isHeld = random.chance(2)
                    scratch.load(s.word)
                    XCTAssertTrue(scratch.fitsWord)
                    XCTAssertEqual(scratch.asWord(), s.word)
                    XCTAssertEqual(StateDump(scratch, clients: 4), StateDump(s, clients: 4))
                }
            }
        }
    }

    func testAStateAtRestIsTheRestingWordHoweverItCameThere() {
        withScratch(10) { s in
            s.load(.untouched)
            XCTAssertEqual(s.asWord(), Word.resting)
            s.setAccess(.write, of: 9)
            s.enqueue(Waiter(client: 7, write: true))
            s.setPendingError(5, of: 8)
            s.error = 77
            s.isInvalid = true
            s.isWriteLocked = true
            s.isHeld = true
            s.activity = .flushing
            XCTAssertNil(s.asWord())
            s.setAccess(.none, of: 9)
            s.removeWaiter(7)
            s.setPendingError(0, of: 8)
            s.isWriteLocked = false
            s.error = 0
            s.isHeld = false
            s.activity = .idle
            XCTAssertEqual(s.asWord(), Word.resting)
        }
    }

    func testEachThingThatNoWordSaysKeepsTheStateWideByItself() {
        let changes: [(String, (inout ScratchState) -> Void)] = [
            ("access of client 4", { $0.setAccess(.read, of: 4) }),
            ("client 4 waits", { $0.enqueue(Waiter(client: 4, write: false)) }),
            ("a pending error", { $0.setPendingError(Errno.io, of: 0) }),
            ("another error", { $0.error = 99 }),
            ("a lock and an error", { $0.error = Errno.io; $0.isWriteLocked = true }),
        ]
        for (name, change) in changes {
            withScratch(5) { s in
                change(&s)
                XCTAssertFalse(s.fitsWord, name)
                XCTAssertNil(s.asWord(), name)
            }
        }
    }

    func testReservingKeepsTheStateAndTheHandle() {
        withScratch { s in
            for client in 0..<UInt32(4) { s.setAccess(.read, of: client) }
            for client in 0..<UInt32(4) { s.enqueue(Waiter(client: client, write: client == 2)) }
            for client in 0..<UInt32(4) { s.setPendingError(Int32(client) + 1, of: client) }
            let before = StateDump(s, clients: 4)
            let copy = s
            XCTAssertTrue(s.reserve(clients: 100))
            XCTAssertGreaterThanOrEqual(s.capacity, 100)
            XCTAssertEqual(StateDump(s, clients: 4), before)
            XCTAssertEqual(StateDump(copy, clients: 4), before)
            s.setAccess(.write, of: 99)
            XCTAssertEqual(copy.access(of: 99), .write)
        }
    }

    func testReservingWithoutMemoryChangesNothing() {
        withScratch { s in
            s.setAccess(.read, of: 3)
            platform_fail_allocation(0)
            XCTAssertFalse(s.reserve(clients: 5))
            XCTAssertEqual(s.capacity, 4)
            XCTAssertEqual(s.access(of: 3), .read)
            XCTAssertTrue(s.reserve(clients: 5))
        }
    }

    func testACopyKeepsWhatTheStateWas() {
        withScratch(6) { s in
            withScratch(6) { kept in
                s.setAccess(.write, of: 5)
                s.error = 1234
                kept.copy(from: s)
                let before = StateDump(s, clients: 6)
                s.setAccess(.none, of: 5)
                s.error = 0
                XCTAssertEqual(StateDump(kept, clients: 6), before)
                XCTAssertNotEqual(StateDump(s, clients: 6), before)
            }
        }
    }

    func testBrokenStatesAreFound() {
        func violation(_ change: (inout ScratchState) -> Void) -> String {
            var result = ""
            withScratch(6) { s in
                change(&s)
                result = s.violation().map { "\($0)" } ?? ""
            }
            return result
        }
        XCTAssertEqual(violation { _ in }, "")
        XCTAssertTrue(violation { $0.setAccess(.write, of: 5); $0.setAccess(.read, of: 1) }.hasPrefix("P1"))
        XCTAssertTrue(violation { $0.setAccess(.write, of: 5); $0.setAccess(.write, of: 1) }.hasPrefix("P1"))
        XCTAssertTrue(violation { $0.enqueue(Waiter(client: 5, write: false)) }.hasPrefix("P3"))
        XCTAssertTrue(violation { $0.setAccess(.revoking, of: 5) }.hasPrefix("P4"))
        XCTAssertTrue(violation { $0.isInvalid = true }.hasPrefix("S1"))
        XCTAssertTrue(violation {
            $0.activity = .pagingIn
            $0.enqueue(Waiter(client: 5, write: false))
            $0.enqueue(Waiter(client: 4, write: false))
            $0.storage.pointee.queue[1] = $0.storage.pointee.queue[0]
        }.hasPrefix("P2"))
        XCTAssertTrue(violation {
            $0.setAccess(.read, of: 4)
            $0.setAccess(.read, of: 5)
            $0.storage.pointee.access[1] = $0.storage.pointee.access[0]
        }.hasPrefix("S2"))
        XCTAssertTrue(violation {
            $0.setAccess(.read, of: 4)
            $0.storage.pointee.summary.writerCount = 1
        }.hasPrefix("S3"))
    }
}
