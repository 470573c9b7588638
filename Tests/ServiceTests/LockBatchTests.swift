// Requests to several clients for one page: who has answered, and how long the record stays.

import XCTest
@testable import Pager

final class LockBatchTests: XCTestCase {
    private var batches = LockBatches()
    /// Never looked at.
    private let nobody = ClientPointer.allocate(capacity: 1)

    override func tearDown() {
        batches.destroy()
        nobody.deallocate()
    }

    private func ask(_ page: UInt64, _ clients: [ClientNumber], asked: UInt64 = 0) -> LockBatchPointer {
        let request = LockRequest(offset: 0, length: 0, returns: 0, flush: true, lock: 0, page: page, isUsers: false)
        let batch = batches.make(UInt32(clients.count), request, asked: asked).unsafelyUnwrapped
        for client in clients { batch.append(client, nobody) }
        batches.insert(batch)
        return batch
    }

    /// Whether the client's answer belongs to a batch; it is noted.
    private func answer(_ page: UInt64, _ client: ClientNumber) -> Bool {
        guard let (batch, found) = batches.find(page, client) else { return false }
        batches.answer(batch, found)
        return true
    }

    func testEachAnswersOnceInAnyOrder() {
        for count: UInt32 in [1, 2, 4, 5, 64, 65, 1000] {
            let clients = (0..<count).map { 3 * $0 + 1 }
            for order in [clients, clients.reversed(), clients.filter { $0 % 2 == 0 } + clients.filter { $0 % 2 != 0 }] {
                batches.sent(ask(7, clients))
                XCTAssertFalse(answer(7, 0))
                XCTAssertFalse(answer(7, 3 * count + 1))
                XCTAssertFalse(answer(8, clients[0]))
                for client in order.dropLast() {
                    XCTAssertTrue(answer(7, client), "\(client) of \(count)")
                    XCTAssertFalse(answer(7, client), "\(client) of \(count), twice")
                }
                XCTAssertNotNil(batches.first)
                XCTAssertTrue(answer(7, order[order.count - 1]))
                XCTAssertNil(batches.first)
                XCTAssertNil(batches.find(7, order[0]))
            }
        }
    }

    func testTheRecordStaysUntilItsSenderIsDone() {
        let batch = ask(1, [2, 3])
        XCTAssertTrue(batches.isSending(1, 2))
        XCTAssertTrue(answer(1, 2))
        XCTAssertFalse(batches.isSending(1, 2))
        XCTAssertTrue(answer(1, 3))
        XCTAssertEqual(batches.first, batch)
        XCTAssertEqual([batch.number(at: 0), batch.number(at: 1)], [2, 3])
        batches.noteSendingBehind(batch)
        XCTAssertEqual(batches.first, batch)
        batches.sent(batch)
        XCTAssertNil(batches.first)

        let other = ask(1, [2])
        batches.noteSendingBehind(other)
        XCTAssertFalse(batches.isSending(1, 2))
        batches.sent(other)
        XCTAssertTrue(answer(1, 2))
    }

    func testALaterBatchOfThePageIsFoundBehindAnEarlierOne() {
        let early = ask(1, [0, 1])
        XCTAssertTrue(answer(1, 0))
        let late = ask(1, [0])
        XCTAssertEqual(batches.find(1, 1)?.batch, early)
        XCTAssertEqual(batches.find(1, 0)?.batch, late)
        for batch in [early, late] { batches.sent(batch) }
        XCTAssertTrue(answer(1, 0))
        XCTAssertEqual(batches.first, early)
        XCTAssertTrue(answer(1, 1))
        XCTAssertNil(batches.first)
    }

    func testAClientThatIsGoneIsNotWaitedFor() {
        for page: UInt64 in 0..<20 { batches.sent(ask(page, [4, 5])) }
        let sending = ask(99, [5])
        for page: UInt64 in 0..<10 { XCTAssertTrue(answer(page, 4)) }
        batches.forget(5)
        for page: UInt64 in 0..<20 { XCTAssertEqual(answer(page, 4), page >= 10) }
        XCTAssertEqual(batches.first, sending)
        batches.sent(sending)
        XCTAssertNil(batches.first)
    }

    func testWhoIsSilent() {
        for batch in [ask(1, [0, 1], asked: 50), ask(2, [2], asked: 80)] { batches.sent(batch) }
        XCTAssertEqual(batches.silent(since: 49), noClient)
        XCTAssertEqual(batches.silent(since: 50), 0)
        XCTAssertTrue(answer(1, 0))
        XCTAssertEqual(batches.silent(since: 50), 1)
        XCTAssertTrue(answer(1, 1))
        XCTAssertEqual(batches.silent(since: 79), noClient)
        XCTAssertEqual(batches.silent(since: 80), 2)
        XCTAssertTrue(answer(2, 2))
    }
}
