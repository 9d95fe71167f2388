// A JsSIP phone under node. It signals for real; sound it has none: what browsers have as RTCPeerConnection is a stand-in
// with one canned description. Usage: node phone.js WS_URL SIP_URI PASSWORD. Orders come as lines on standard input
// (call URI, answer, reject STATUS, hangup, options URI, message URI TEXT, quit), news go out as lines of JSON.
'use strict';

const { createRequire } = require('node:module');
const readline = require('node:readline');

const load = createRequire(`${process.env.NODE_FOLDER}/`);
globalThis.window = globalThis;
globalThis.WebSocket = load('ws');

const SDP = [
  'v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0', 'm=audio 40000 RTP/AVP 0 101',
  'a=rtpmap:0 PCMU/8000', 'a=rtpmap:101 telephone-event/8000', 'a=sendrecv', '',
].join('\r\n');

class PeerConnection {
  constructor() {
    this.signalingState = 'stable';
    this.iceGatheringState = 'complete';
    this.iceConnectionState = 'connected';
    this.connectionState = 'connected';
    this.localDescription = null;
    this.remoteDescription = null;
  }

  addEventListener() {}

  removeEventListener() {}

  addTrack() {}

  getSenders() { return []; }

  async createOffer() { return { type: 'offer', sdp: SDP }; }

  async createAnswer() { return { type: 'answer', sdp: SDP }; }

  async setLocalDescription(description) { this.localDescription = description; }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    tell({ event: 'described', type: description.type, sdp: description.sdp });
  }

  close() { this.signalingState = 'closed'; }
}

globalThis.RTCPeerConnection = PeerConnection;
globalThis.RTCSessionDescription = class { constructor(init) { Object.assign(this, init); } };

const JsSIP = load('jssip');
const [url, uri, password] = process.argv.slice(2);
const stream = { getTracks: () => [], getAudioTracks: () => [], getVideoTracks: () => [] };
let session = null;

function tell(news) { process.stdout.write(`${JSON.stringify(news)}\n`); }

const phone = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(url)], uri, password, register: true, register_expires: 120, session_timers: false,
  connection_recovery_min_interval: 1, connection_recovery_max_interval: 2,
});

for (const name of ['connected', 'disconnected', 'registered', 'unregistered', 'registrationFailed']) {
  phone.on(name, (data) => tell({ event: name, cause: data && data.cause }));
}
phone.on('newRTCSession', (data) => {
  session = data.session;
  tell({ event: 'call', from: data.originator, user: data.request.from.uri.user });
  for (const name of ['progress', 'accepted', 'confirmed', 'ended', 'failed']) {
    session.on(name, (news) => tell({ event: name, from: news.originator, cause: news.cause }));
  }
});

function asked(what) {
  return {
    eventHandlers: {
      succeeded: (data) => tell({ event: what, status: data.response.status_code }),
      failed: (data) => tell({ event: what, status: data.response ? data.response.status_code : 0, cause: data.cause }),
    },
  };
}

const orders = {
  call: (target) => phone.call(target, { mediaStream: stream, mediaConstraints: { audio: false, video: false } }),
  answer: () => session.answer({ mediaStream: stream }),
  reject: (status) => session.terminate({ status_code: Number(status) }),
  hangup: () => session.terminate(),
  options: (target) => phone.sendOptions(target, null, asked('options')),
  message: (target, ...words) => phone.sendMessage(target, words.join(' '), asked('message')),
  quit: () => { phone.stop(); setTimeout(() => process.exit(0), 500); },
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [order, ...rest] = line.trim().split(' ');
  orders[order](...rest);
});
phone.start();
