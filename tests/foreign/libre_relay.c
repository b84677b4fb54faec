/* libre (Debian's 1.1): two allocations, data from relay to relay by channels. On streams the program
 * must separate the messages itself. README.md describes its arguments. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The options with which libre was built. */
#define HAVE_INET6
#define HAVE_INTTYPES_H
#define HAVE_STDBOOL_H
#include <re/re.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { HEADROOM = 64, HEADER = 4, STUN_HEADER = 20 };

/* Sizes around the padding of streams, and those of a call. */
static const size_t sizes[] = {1, 2, 3, 4, 5, 160, 999, 1200};

struct end {
	struct turnc *turn;
	struct udp_sock *udp;
	struct tcp_conn *tcp;
	struct tls_conn *tls;
	struct mbuf *unread;
	struct sa relay;
	size_t received;
};

static struct end ends[2];
static const char *transport, *username, *password;
static struct sa server;
static unsigned allocated, bound, done;

static struct end *other(struct end *end) { return &ends[end == ends]; }

static void check(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		exit(1);
	}
}

static uint8_t byte_at(size_t message, size_t at) { return (uint8_t)(message * 31 + at * 7); }

/* Over UDP, libre wraps the data that the program sends to a peer on its socket. */
static int send_to(struct end *end, const struct sa *peer, struct mbuf *message)
{
	return end->udp ? udp_send(end->udp, peer, message) : turnc_send(end->turn, peer, message);
}

static void send_all(struct end *end)
{
	for (size_t i = 0; i < COUNT(sizes); ++i) {
		struct mbuf *message = mbuf_alloc(HEADROOM + sizes[i] + HEADER);
		message->pos = HEADROOM;
		for (size_t at = 0; at < sizes[i]; ++at)
			mbuf_write_u8(message, byte_at(i, at));
		message->pos = HEADROOM;
		check(!send_to(end, &other(end)->relay, message), "sending failed");
		mem_deref(message);
	}
}

static void on_data(struct end *end, const struct sa *from, struct mbuf *data)
{
	size_t i = end->received++;
	check(sa_cmp(from, &other(end)->relay, SA_ALL), "data from elsewhere");
	check(i < COUNT(sizes) && mbuf_get_left(data) == sizes[i], "a message has another length");
	for (size_t at = 0; at < sizes[i]; ++at)
		check(mbuf_read_u8(data) == byte_at(i, at), "other bytes");
	if (end->received == COUNT(sizes) && ++done == COUNT(ends))
		re_cancel();
}

static void on_channel(void *arg)
{
	(void)arg;
	if (++bound == COUNT(ends)) {
		send_all(&ends[0]);
		send_all(&ends[1]);
	}
}

static void on_permission(void *arg)
{
	struct end *end = arg;
	check(!turnc_add_chan(end->turn, &other(end)->relay, on_channel, end), "no channel");
}

static void on_allocated(int err, uint16_t code, const char *reason, const struct sa *relay, const struct sa *mapped,
			 const struct stun_msg *message, void *arg)
{
	struct end *end = arg;
	(void)mapped;
	(void)message;
	if (err || code)
		fprintf(stderr, "%d, %u %s\n", err, code, reason ? reason : "");
	check(!err && !code, "no allocation");
	end->relay = *relay;
	if (++allocated < COUNT(ends))
		return;
	for (size_t i = 0; i < COUNT(ends); ++i)
		check(!turnc_add_perm(ends[i].turn, &other(&ends[i])->relay, on_permission, &ends[i]), "no permission");
}

static void allocate(struct end *end)
{
	int protocol = end->udp ? IPPROTO_UDP : IPPROTO_TCP;
	void *socket = end->udp ? (void *)end->udp : (void *)end->tcp;
	check(!turnc_alloc(&end->turn, NULL, protocol, socket, 0, &server, username, password, 600, on_allocated, end),
	      "cannot allocate");
}

/* Messages that libre handles itself do not come here. */
static void on_datagram(const struct sa *from, struct mbuf *data, void *arg) { on_data(arg, from, data); }

static void on_established(void *arg) { allocate(arg); }

static void on_bytes(struct mbuf *bytes, void *arg)
{
	struct end *end = arg;
	size_t start = 0;
	end->unread->pos = end->unread->end;
	mbuf_write_mem(end->unread, mbuf_buf(bytes), mbuf_get_left(bytes));
	for (;;) {
		const uint8_t *head = end->unread->buf + start;
		size_t left = end->unread->end - start, length;
		if (left < HEADER)
			break;
		length = (size_t)head[2] << 8 | head[3];
		bool is_channel = head[0] & 0x40;
		size_t whole = is_channel ? HEADER + length : STUN_HEADER + length;
		size_t padded = (whole + 3) & ~(size_t)3;
		if (left < padded)
			break;
		struct mbuf *message = mbuf_alloc(whole);
		struct sa from;
		mbuf_write_mem(message, head, whole);
		message->pos = 0;
		sa_init(&from, AF_UNSPEC);
		check(!turnc_recv(end->turn, &from, message), "a message that libre does not take");
		if (mbuf_get_left(message))
			on_data(end, &from, message);
		mem_deref(message);
		start += padded;
	}
	memmove(end->unread->buf, end->unread->buf + start, end->unread->end - start);
	end->unread->end -= start;
}

static void on_closed(int err, void *arg)
{
	(void)err;
	(void)arg;
	check(false, "the connection was closed");
}

static void on_timeout(void *arg)
{
	(void)arg;
	check(false, "timed out");
}

static void open_end(struct end *end, struct tls *tls, const char *host)
{
	struct sa any;
	if (!strcmp(transport, "udp")) {
		sa_set_str(&any, "127.0.0.1", 0);
		check(!udp_listen(&end->udp, &any, on_datagram, end), "no socket");
		allocate(end);
		return;
	}
	end->unread = mbuf_alloc(4096);
	check(!tcp_connect(&end->tcp, &server, on_established, on_bytes, on_closed, end), "no connection");
	if (tls) {
		check(!tls_start_tcp(&end->tls, tls, end->tcp, 0), "no TLS");
		check(!tls_set_verify_server(end->tls, host), "the certificate cannot be checked");
	}
}

int main(int argc, char **argv)
{
	struct tls *tls = NULL;
	struct tmr patience;
	size_t total = 0;
	check(argc == 7, "arguments: TRANSPORT HOST PORT USERNAME PASSWORD CA");
	transport = argv[1];
	username = argv[4];
	password = argv[5];
	check(!libre_init(), "libre does not start");
	sa_set_str(&server, "127.0.0.1", (uint16_t)atoi(argv[3]));
	if (!strcmp(transport, "tls")) {
		check(!tls_alloc(&tls, TLS_METHOD_SSLV23, NULL, NULL), "no TLS");
		check(!tls_add_ca(tls, argv[6]), "no CA");
	}
	tmr_init(&patience);
	tmr_start(&patience, 30000, on_timeout, NULL);
	for (size_t i = 0; i < COUNT(ends); ++i)
		open_end(&ends[i], tls, argv[2]);
	re_main(NULL);
	check(done == COUNT(ends), "it ended early");
	for (size_t i = 0; i < COUNT(sizes); ++i)
		total += sizes[i];
	printf("relayed %zu bytes each way\n", total);
	return 0;
}
