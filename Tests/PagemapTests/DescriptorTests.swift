// Shared descriptors: one for each content, in a balanced tree, counted, found again by remembered moves.

import CPlatform
import XCTest
@testable import Pager

extension DescriptorTable {
    /// The number of a descriptor that is told from others by this one number.
    func intern(variant: Int) -> UInt32? {
        let s = prepare(variant: variant)
        return intern(s)
    }

    func prepare(variant: Int) -> ScratchState {
        var s = scratch
        s.reset()
        // A client from 4 on keeps the state out of a word.
        s.setAccess(.read, of: 4)
        for bit in 0..<4 where variant >> bit & 1 == 1 { s.setAccess(.read, of: UInt32(bit)) }
        s.error = Int32(variant >> 4)
        return s
    }
}

final class DescriptorTests: PagemapTestCase {
    // Sharing and counting.

    func testEqualContentHasEqualNumbersHoweverItWasBuilt() {
        withTable(8) { table in
            var s = table.scratch
            s.setAccess(.read, of: 7)
            s.setAccess(.read, of: 1)
            s.enqueue(Waiter(client: 2, write: true))
            s.enqueue(Waiter(client: 6, write: false))
            s.activity = .flushing
            let first = table.intern(s)!
            s.reset()
            s.activity = .flushing
            s.enqueue(Waiter(client: 5, write: false))
            s.enqueue(Waiter(client: 2, write: false))
            s.enqueue(Waiter(client: 6, write: false))
            s.removeWaiter(5)
            s.enqueue(Waiter(client: 2, write: true))
            s.setAccess(.write, of: 1)
            s.setAccess(.read, of: 3)
            s.setAccess(.read, of: 1)
            s.setAccess(.read, of: 7)
            s.setAccess(.none, of: 3)
            s.error = 5
            s.error = 0
            XCTAssertEqual(table.intern(s), first)
            XCTAssertEqual(table.descriptor(first).pages, 2)
            XCTAssertEqual(table.statistics.live, 1)
            XCTAssertEqual(table.statistics.found, 1)
            table.release(first)
            table.release(first)
            XCTAssertEqual(table.statistics.live, 0)
            XCTAssertEqual(table.statistics.descriptorBytes, 0)
        }
    }

    func testEachDifferenceOfContentMakesAnotherDescriptor() {
        let changes: [(inout ScratchState) -> Void] = [
            { _ in }, { $0.activity = .flushing }, { $0.isHeld = true }, { $0.isWriteLocked = true }, { $0.error = 5 },
            { $0.error = -5 }, { $0.error = 5; $0.isInvalid = true }, { $0.setAccess(.write, of: 4) },
            { $0.setAccess(.revoking, of: 4) }, { $0.setAccess(.read, of: 5) }, { $0.setAccess(.read, of: 6) },
            { $0.setAccess(.none, of: 4); $0.setAccess(.read, of: 5) },
            { $0.enqueue(Waiter(client: 1, write: false)) }, { $0.enqueue(Waiter(client: 1, write: true)) },
            { $0.enqueue(Waiter(client: 1, write: false)); $0.enqueue(Waiter(client: 2, write: false)) },
            { $0.enqueue(Waiter(client: 2, write: false)); $0.enqueue(Waiter(client: 1, write: false)) },
            { $0.setPendingError(1, of: 0) }, { $0.setPendingError(1, of: 1) }, { $0.setPendingError(2, of: 1) },
            { $0.setPendingError(-2, of: 1) }, { $0.setPendingError(1, of: 0); $0.setPendingError(1, of: 1) },
        ]
        withTable(8) { table in
            var numbers: Set<UInt32> = []
            for change in changes {
                var s = table.scratch
                s.reset()
                s.setAccess(.read, of: 4)
                change(&s)
                numbers.insert(table.intern(s)!)
                assertHolds(table.violation())
            }
            XCTAssertEqual(numbers.count, changes.count)
            // The order is total and antisymmetric.
            for a in numbers {
                for b in numbers {
                    let left = table.descriptor(a).content, right = table.descriptor(b).content
                    XCTAssertEqual(EncodedContent.order(left, right), -EncodedContent.order(right, left))
                    XCTAssertEqual(EncodedContent.order(left, right) == 0, a == b)
                }
            }
            for number in numbers { table.release(number) }
        }
    }

    func testADescriptorSaysWhatTheStateSaidAndLoadsBack() {
        var random = SeededRandom(7)
        withTable(40) { table in
            var model = ModelState()
            var numbers: [UInt32] = []
            var dumps: [StateDump] = []
            while numbers.count < 300 {
                for _ in 0..<5 {
                    Operation.random(&random, clients: 40, queueCount: model.queueCount, wild: true).apply(&model)
                }
                if model.isInvalid && model.error == 0 { model.isInvalid = false }
                var s = table.scratch
                s.reset()
                s.activity = model.activity
                s.isHeld = model.isHeld
                s.error = model.error
                s.isInvalid = model.isInvalid
                s.isWriteLocked = model.isWriteLocked
                for (client, access) in model.accessOf { s.setAccess(access, of: client) }
                for (client, code) in model.pendingOf { s.setPendingError(code, of: client) }
                for waiter in model.queue { s.enqueue(waiter) }
                if s.fitsWord { continue }
                numbers.append(table.intern(s)!)
                dumps.append(StateDump(s, clients: 40))
            }
            assertHolds(table.violation())
            for (number, dump) in zip(numbers, dumps) {
                table.load(Word(descriptor: number), into: table.snapshot)
                XCTAssertEqual(StateDump(table.snapshot, clients: 40), dump)
                let content = table.descriptor(number).content
                XCTAssertEqual((0...40).map { content.access(of: $0) } + [.none], dump.access)
                XCTAssertEqual((0..<content.queueCount).map { content.waiter(at: $0) }, dump.queue)
                XCTAssertEqual((0...40).map { content.pendingError(of: $0) }, dump.pending)
                XCTAssertEqual(content.writer, dump.writer)
                XCTAssertEqual(content.hasOutstanding, dump.hasOutstanding)
                XCTAssertEqual(table.intern(table.snapshot), number)
                table.release(number)
            }
            for number in numbers { table.release(number) }
            XCTAssertEqual(table.statistics.live, 0)
        }
    }

    func testAStateThatFitsIsStoredInTheWordAndTakesNoDescriptor() {
        withTable(8) { table in
            var s = table.scratch
            s.setAccess(.read, of: 3)
            XCTAssertEqual(table.store(s)?.raw, 1 | 1 << 7)
            s.setAccess(.read, of: 4)
            let wide = table.store(s)!
            XCTAssertTrue(wide.isDescriptor)
            s.setAccess(.none, of: 4)
            XCTAssertEqual(table.store(s)?.raw, 1 | 1 << 7)
            XCTAssertEqual(table.statistics.live, 1)
            assertHolds(wide.violation(in: table))
            table.release(wide)
            table.release(Word.resting)
            XCTAssertNotNil(wide.violation(in: table))
        }
    }

    func testTheLastPageFreesTheDescriptorAndItsNumberIsUsedAgain() {
        withTable(8) { table in
            let first = table.intern(variant: 1)!
            let second = table.intern(variant: 2)!
            table.retain(first)
            table.release(first)
            XCTAssertNotNil(table.existing(first))
            table.release(first)
            XCTAssertNil(table.existing(first))
            XCTAssertEqual(table.intern(variant: 3), first)
            table.release(first)
            table.release(second)
            // More than a chunk, out and in again: no number above the most that lived at once.
            for _ in 0..<3 {
                let numbers = (0..<500).map { table.intern(variant: $0)! }
                XCTAssertEqual(Set(numbers), Set(1...500))
                assertHolds(table.violation())
                for number in numbers { table.release(number) }
            }
        }
    }

    // Those that no page is in any more.

    func testAnUnusedDescriptorIsKeptAndFoundAgain() {
        withTable(8, keeping: 2) { table in
            let first = table.intern(variant: 1)!, pointer = table.existing(first)
            table.release(first)
            XCTAssertEqual(table.statistics.live, 0)
            XCTAssertEqual(table.statistics.unused, 1)
            assertHolds(table.violation())
            XCTAssertEqual(table.intern(variant: 1), first)
            XCTAssertEqual(table.existing(first), pointer)
            XCTAssertEqual(table.statistics.live, 1)
            XCTAssertEqual(table.statistics.unused, 0)
            assertHolds(table.violation())
            table.release(first)
        }
    }

    func testAMoveToAnUnusedDescriptorIsFollowedAndOneToAFreedOneIsNot() {
        withTable(8, keeping: 2) { table in
            let from = table.intern(variant: 1)!, to = table.intern(variant: 2)!
            table.remember(from, key: 5, target: Word(descriptor: to), payload: EdgePayload())
            table.release(to)
            XCTAssertEqual(table.lookup(from, key: 5)?.word, Word(descriptor: to))
            XCTAssertEqual(table.descriptor(to).pages, 1)
            table.release(to)
            for variant in 3..<5 { table.release(table.intern(variant: variant)!) }
            XCTAssertNil(table.lookup(from, key: 5))
            table.release(from)
        }
    }

    func testAtMostAsManyAsAllowedAreKeptAndTheFirstGoesFirst() {
        withTable(8, keeping: 3) { table in
            let numbers = (1...5).map { table.intern(variant: $0)! }
            for number in numbers { table.release(number) }
            XCTAssertEqual(numbers.map { table.existing($0) != nil }, [false, false, true, true, true])
            XCTAssertEqual(table.statistics.unused, 3)
            assertHolds(table.violation())
            // One that is used again is not freed when its turn comes, and is kept again afterwards.
            table.retain(numbers[2])
            for variant in 6..<9 { table.release(table.intern(variant: variant)!) }
            XCTAssertNotNil(table.existing(numbers[2]))
            XCTAssertEqual(table.statistics.live, 1)
            assertHolds(table.violation())
            table.release(numbers[2])
            XCTAssertNotNil(table.existing(numbers[2]))
            table.freeUnused()
            XCTAssertNil(table.existing(numbers[2]))
            XCTAssertEqual(table.statistics.descriptorBytes, 0)
            assertHolds(table.violation())
        }
    }

    func testLargeDescriptorsAreKeptByTheirBytes() {
        withTable(2000, keeping: 100) { table in
            for extra in 0..<50 {
                var s = table.scratch
                s.reset()
                // Far apart: an entry for each.
                for client in 0..<UInt32(200) { s.setAccess(.read, of: client * 10) }
                s.setAccess(.read, of: UInt32(1991 + extra % 9))
                s.error = Int32(extra)
                table.release(table.intern(s)!)
                XCTAssertLessThanOrEqual(table.statistics.descriptorBytes, UnusedDescriptors.byteLimit)
                assertHolds(table.violation())
            }
            XCTAssertGreaterThan(table.statistics.unused, 5)
        }
    }

    /// Both forms of the access set, at the borders between them.
    func testAnAccessSetIsStoredInTheSmallerFormAndLoadsBack() {
        withTable(400) { table in
            var random = SeededRandom(5)
            for round in 0..<600 {
                let highest = [4, 5, 31, 32, 63, 64, 65, 127, 300][round % 9], count = random.below(highest) / (round % 3 + 1) + 1
                var s = table.scratch
                s.reset()
                s.setAccess(.read, of: UInt32(highest))
                for _ in 0..<count {
                    s.setAccess([.read, .revoking, .none, .write][random.below(4)], of: UInt32(random.below(highest + 1)))
                }
                if s.fitsWord { continue }
                let dump = StateDump(s, clients: 310), number = table.intern(s)!
                let content = table.descriptor(number).content
                assertHolds(content.violation())
                XCTAssertEqual((0...310).map { content.access(of: $0) } + [.none], dump.access)
                XCTAssertEqual(content.access(of: 5000), .none)
                XCTAssertEqual(content.hasOutstanding, dump.hasOutstanding)
                table.load(Word(descriptor: number), into: table.snapshot)
                XCTAssertEqual(StateDump(table.snapshot, clients: 310), dump)
                let entries = Int(table.snapshot.summary.accessCount)
                XCTAssertLessThanOrEqual(table.descriptor(number).bytes, MemoryLayout<DescriptorHeader>.stride + (entries * 4 + 7) & ~7)
                table.release(number)
            }
        }
    }

    func testSlotsAndDescriptorsDoNotMoveWhileTheTableGrows() {
        withTable(8) { table in
            let number = table.intern(variant: 1)!
            let pointer = table.existing(number)
            let others = (2..<20_000).map { table.intern(variant: $0)! }
            XCTAssertEqual(table.existing(number), pointer)
            XCTAssertEqual(Set(others).count, others.count)
            XCTAssertEqual(table.statistics.live, 19_999)
            for other in others { table.release(other) }
            XCTAssertEqual(table.existing(number), pointer)
            table.release(number)
        }
    }

    func testDestroyFreesDescriptorsThatAreStillReferredTo() {
        let table = DescriptorTable.create()!
        XCTAssertTrue(table.reserve(clients: 8))
        for variant in 0..<200 {
            let number = table.intern(variant: variant)!
            table.remember(number, key: 1, target: .resting, payload: EdgePayload())
        }
        table.destroy()
    }

    // The tree.

    func testTheTreeStaysBalancedUnderRandomInsertionAndRemoval() {
        var random = SeededRandom(11)
        withTable(8) { table in
            var live: [Int: UInt32] = [:]
            for step in 0..<100_000 {
                // The range of contents changes, so that the tree grows and shrinks between empty and 3000.
                let range = [5, 60, 3000][step / 500 % 3]
                let variant = random.below(range)
                if let number = live.removeValue(forKey: variant) {
                    table.release(number)
                } else {
                    live[variant] = table.intern(variant: variant)!
                }
                let cheap = range < 100 && live.count < 200 && step % 10 == 0
                if cheap || step % 500 == 0 { assertHolds(table.violation()) }
                XCTAssertEqual(table.statistics.live, live.count)
            }
            // Emptied in an order that has nothing to do with that of the contents.
            for (_, number) in live { table.release(number) }
            XCTAssertEqual(table.statistics.live, 0)
            XCTAssertNil(table.core.pointee.tree.root)
        }
    }

    func testInsertionAndRemovalInOrderKeepTheTreeAsLowAsItMustBe() {
        withTable(8) { table in
            func height(_ d: DescriptorPointer?) -> Int {
                guard let d else { return 0 }
                return 1 + max(height(d.pointee.left), height(d.pointee.right))
            }
            var numbers = (0..<4096).map { table.intern(variant: $0 << 4)! }
            assertHolds(table.violation())
            XCTAssertLessThanOrEqual(height(table.core.pointee.tree.root), 24)
            for number in numbers[..<4000] { table.release(number) }
            assertHolds(table.violation())
            XCTAssertLessThanOrEqual(height(table.core.pointee.tree.root), 14)
            numbers.removeFirst(4000)
            for number in numbers.reversed() { table.release(number) }
        }
    }

    func testBrokenTreesAreFound() {
        withTable(8) { table in
            let numbers = (0..<7).map { table.intern(variant: $0 << 4)! }
            let root = table.core.pointee.tree.root!
            func expect(_ prefix: String, _ breakIt: () -> Void, _ mend: () -> Void) {
                breakIt()
                XCTAssertTrue(table.violation().map { "\($0)" }?.hasPrefix(prefix) ?? false, prefix)
                mend()
                assertHolds(table.violation())
            }
            expect("T2", { root.pointee.isRed = true }, { root.pointee.isRed = false })
            let left = root.pointee.left!, right = root.pointee.right!
            expect("T4", { left.pointee.parent = right }, { left.pointee.parent = root })
            let traits = root.pointee.traits
            expect("T1", { root.pointee.traits = ContentTraits(raw: traits.raw | 7) }, { root.pointee.traits = traits })
            let leaf = right.pointee.right!
            let wasRed = leaf.pointee.isRed
            expect("T", { leaf.pointee.isRed = !wasRed }, { leaf.pointee.isRed = wasRed })
            expect("D2", { leaf.pointee.pages = 0 }, { leaf.pointee.pages = 1 })
            expect("D3", { table.core.pointee.statistics.live += 1 }, { table.core.pointee.statistics.live -= 1 })
            for number in numbers { table.release(number) }
        }
    }

    // Memory exhausted.

    func testATableWithoutMemoryIsNotMadeAndLeavesNothing() {
        var point = 0
        while true {
            platform_fail_allocation(point)
            if let table = DescriptorTable.create() {
                platform_fail_allocation(-1)
                table.destroy()
                break
            }
            point += 1
        }
        XCTAssertEqual(point, 6)
    }

    func testInterningWithoutMemoryAnswersNilAndChangesNothing() {
        withTable(8) { table in
            var numbers: [UInt32] = []
            for variant in 0..<300 {
                // Every allocation that this one makes: the chunk of slots (sometimes) and the descriptor.
                var point = 0
                while true {
                    let before = table.statistics.live
                    let blocks = platform_allocated_blocks()
                    platform_fail_allocation(point)
                    let number = table.intern(variant: variant)
                    if let number {
                        platform_fail_allocation(-1)
                        numbers.append(number)
                        break
                    }
                    XCTAssertEqual(table.statistics.live, before)
                    // A chunk that was made stays for the next.
                    XCTAssertLessThanOrEqual(platform_allocated_blocks(), blocks + 1)
                    if variant % 16 == 0 { assertHolds(table.violation()) }
                    point += 1
                }
                XCTAssertGreaterThanOrEqual(point, 1)
            }
            XCTAssertEqual(Set(numbers), Set(1...300))
            // What is there needs no memory.
            platform_fail_allocation(0)
            XCTAssertEqual(table.intern(variant: 17), numbers[17])
            platform_fail_allocation(-1)
            table.release(numbers[17])
            for number in numbers { table.release(number) }
        }
    }

    func testInterningThatWaitsGetsItsDescriptorInTheEnd() {
        withTable(8) { table in
            platform_fail_allocation(0)
            let first = table.internWaiting(table.prepare(variant: 1))
            platform_fail_allocation(1)
            let second = table.storeWaiting(table.prepare(variant: 2))
            XCTAssertEqual([first, second.descriptor], [1, 2])
            table.release(first)
            table.release(second)
        }
    }

    func testReservingInATableWithoutMemoryIsRefusedAndCanBeRepeated() {
        withTable { table in
            for point in 0..<2 {
                platform_fail_allocation(point)
                XCTAssertFalse(table.reserve(clients: 9 + 20 * point))
                XCTAssertTrue(table.reserve(clients: 9 + 20 * point))
            }
            XCTAssertGreaterThanOrEqual(min(table.scratch.capacity, table.snapshot.capacity), 29)
        }
    }
}
