// Remembered moves: found again, replaced, and never followed to what is gone.

import CPlatform
import XCTest
@testable import Pager

final class EdgeTests: PagemapTestCase {
    private let payload = EdgePayload(a: 0x1234_5678_9abc_def0, b: .max)

    func testAMoveToADirectWordIsFoundAgain() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!
            XCTAssertNil(table.lookup(from, key: 5))
            table.remember(from, key: 5, target: .resting, payload: payload)
            XCTAssertEqual(table.lookup(from, key: 5), EdgeHit(word: .resting, payload: payload))
            XCTAssertNil(table.lookup(from, key: 6))
            XCTAssertEqual(table.statistics.edgeHits, 1)
            XCTAssertEqual(table.statistics.edgeLookups, 3)
            table.release(from)
        }
    }

    func testAMoveToADescriptorTakesAReferenceForWhoFollowsIt() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!, to = table.intern(variant: 2)!
            table.remember(from, key: .max, target: Word(descriptor: to), payload: payload)
            XCTAssertEqual(table.descriptor(to).pages, 1, "remembering takes none")
            XCTAssertEqual(table.lookup(from, key: .max), EdgeHit(word: Word(descriptor: to), payload: payload))
            XCTAssertEqual(table.descriptor(to).pages, 2)
            assertHolds(table.violation())
            table.release(from)
            table.release(to)
            table.release(to)
        }
    }

    func testAMoveToAFreedDescriptorIsNotFollowed() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!, to = table.intern(variant: 2)!
            table.remember(from, key: 5, target: Word(descriptor: to), payload: payload)
            table.release(to)
            XCTAssertNil(table.lookup(from, key: 5))
            XCTAssertEqual(table.statistics.staleEdges, 1)
            table.release(from)
        }
    }

    func testAMoveIsNotFollowedToAnotherDescriptorWithTheSameNumber() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!, to = table.intern(variant: 2)!
            table.remember(from, key: 5, target: Word(descriptor: to), payload: payload)
            table.release(to)
            XCTAssertEqual(table.intern(variant: 3), to, "the number is in use again")
            XCTAssertNil(table.lookup(from, key: 5))
            table.release(to)
            // Even where the content is the same again: the pair is not the one that was remembered.
            XCTAssertEqual(table.intern(variant: 2), to)
            table.remember(from, key: 5, target: Word(descriptor: to), payload: payload)
            table.release(to)
            XCTAssertEqual(table.intern(variant: 2), to)
            XCTAssertNil(table.lookup(from, key: 5))
            XCTAssertEqual(table.descriptor(to).pages, 1)
            table.release(to)
            table.release(from)
        }
    }

    func testAMoveFromAWordToADescriptorIsFoundAgain() {
        withTable(8) { table in
            let to = table.intern(variant: 2)!, word = Word(loaded: 0x201)
            XCTAssertNil(table.lookup(word, key: 5))
            table.remember(word, key: 5, target: Word(descriptor: to), payload: payload)
            XCTAssertEqual(table.descriptor(to).pages, 1, "remembering takes none")
            XCTAssertEqual(table.lookup(word, key: 5), EdgeHit(word: Word(descriptor: to), payload: payload))
            XCTAssertEqual(table.descriptor(to).pages, 2)
            XCTAssertNil(table.lookup(word, key: 6))
            XCTAssertNil(table.lookup(.resting, key: 5))
            table.release(to)
            table.release(to)
            XCTAssertNil(table.lookup(word, key: 5), "the descriptor is gone")
            XCTAssertEqual(table.intern(variant: 3), to, "the number is in use again")
            XCTAssertNil(table.lookup(word, key: 5))
            table.release(to)
            assertHolds(table.violation())
        }
    }

    func testMovesFromWordsTakeEachOthersPlaces() {
        withTable(8) { table in
            let to = table.intern(variant: 2)!
            for key in UInt64(1)...1000 {
                table.remember(.resting, key: key, target: Word(descriptor: to), payload: EdgePayload(a: key))
                XCTAssertEqual(table.lookup(.resting, key: key)?.payload, EdgePayload(a: key))
                table.release(to)
            }
            var found = 0
            for key in UInt64(1)...1000 where table.lookup(.resting, key: key) != nil {
                found += 1
                table.release(to)
            }
            XCTAssertEqual(found, 32)
            XCTAssertEqual(table.descriptor(to).pages, 1)
            table.release(to)
        }
    }

    func testANewDescriptorDoesNotInheritMoves() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!
            table.remember(from, key: 5, target: .resting, payload: payload)
            table.release(from)
            XCTAssertEqual(table.intern(variant: 1), from)
            XCTAssertNil(table.lookup(from, key: 5))
            table.release(from)
        }
    }

    func testFourMovesAreRememberedAndTheFifthReplacesOne() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!
            func found() -> [UInt64] {
                (0..<20).filter { key in
                    guard let hit = table.lookup(from, key: key) else { return false }
                    XCTAssertEqual(hit.payload.a, key * 10)
                    return true
                }
            }
            func remember(_ key: UInt64) {
                table.remember(from, key: key, target: .resting, payload: EdgePayload(a: key * 10))
            }
            for key in 0..<UInt64(4) { remember(key) }
            XCTAssertEqual(found(), [0, 1, 2, 3])
            for key in 0..<UInt64(4) { remember(key) }
            XCTAssertEqual(found(), [0, 1, 2, 3], "the same key takes the same place")
            for key in 4..<UInt64(20) {
                remember(key)
                XCTAssertEqual(found().count, 4)
                XCTAssertTrue(found().contains(key))
            }
            table.release(from)
        }
    }

    func testAStaleMoveGivesWayBeforeALiveOne() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!, to = table.intern(variant: 2)!
            for key in 0..<UInt64(4) {
                let target = key == 2 ? Word(descriptor: to) : .resting
                table.remember(from, key: key, target: target, payload: payload)
            }
            table.release(to)
            table.remember(from, key: 9, target: .resting, payload: payload)
            XCTAssertEqual((0..<10).filter { table.lookup(from, key: $0) != nil }, [0, 1, 3, 9])
            table.release(from)
        }
    }

    func testWithoutMemoryAMoveIsNotRememberedAndNothingElseHappens() {
        withTable(8) { table in
            let from = table.intern(variant: 1)!
            platform_fail_allocation(0)
            table.remember(from, key: 5, target: .resting, payload: payload)
            XCTAssertNil(table.lookup(from, key: 5))
            table.remember(from, key: 5, target: .resting, payload: payload)
            XCTAssertNotNil(table.lookup(from, key: 5))
            table.release(from)
        }
    }

    /// Every move that is followed leads where searching leads.
    func testRandomMovesAlwaysLeadToTheContentTheyWereRememberedFor() {
        var random = SeededRandom(13)
        withTable(8) { table in
            var live: [Int: UInt32] = [:]
            var expected: [UInt64: Int] = [:]
            var hits = 0
            for _ in 0..<50_000 {
                let variant = random.below(24)
                switch random.below(4) {
                case 0:
                    if live[variant] == nil { live[variant] = table.intern(variant: variant)! }
                case 1:
                    if let number = live.removeValue(forKey: variant) { table.release(number) }
                default:
                    guard let from = live[variant] else { continue }
                    let key = UInt64(variant << 8 | random.below(6))
                    if let hit = table.lookup(from, key: key) {
                        hits += 1
                        let target = expected[key]!
                        XCTAssertEqual(hit.payload.b, UInt64(target))
                        XCTAssertEqual(table.intern(variant: target), hit.word.descriptor)
                        table.release(hit.word)
                        table.release(hit.word)
                    } else if let target = live.keys.sorted().dropFirst(random.below(live.count)).first {
                        expected[key] = target
                        table.remember(from, key: key, target: Word(descriptor: live[target]!),
                                       payload: EdgePayload(b: UInt64(target)))
                    }
                }
            }
            XCTAssertGreaterThan(hits, 1000)
            XCTAssertGreaterThan(table.statistics.staleEdges, 100)
            assertHolds(table.violation())
            for number in live.values { table.release(number) }
            XCTAssertEqual(table.statistics.live, 0)
        }
    }
}
