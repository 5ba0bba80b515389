// Kafka's command line tools one after the other in one process, since starting a JVM for each costs more than what they do (see tests/interop/javatools.py).
// A line of input is a main class and its arguments, separated by tabs; the answer is a line "STATUS LENGTH" and what the tool wrote to its output and error.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

public class Tools {
	static class Ended extends Error {
		final int status;

		Ended(int status) {
			super("(ended)", null, false, false);
			this.status = status;
		}
	}

	// Streams are kept by whoever is loaded first (Scala's console, log4j), so it is one for ever that writes to the buffer of the tool that runs.
	static ByteArrayOutputStream buffer = new ByteArrayOutputStream();

	static synchronized void put(byte[] bytes, int at, int length) {
		buffer.write(bytes, at, length);
	}

	static synchronized byte[] taken() {
		byte[] out = buffer.toByteArray();
		buffer.reset();
		return out;
	}

	static final OutputStream SINK = new OutputStream() {
		@Override
		public void write(int b) {
			put(new byte[]{(byte) b}, 0, 1);
		}

		@Override
		public void write(byte[] bytes, int at, int length) {
			put(bytes, at, length);
		}
	};

	static Integer first; // what the tool wanted to end with; some catch Ended and want again

	static int run(String[] words) {
		first = null;
		int status = call(words);
		return first == null ? status : first;
	}

	static int call(String[] words) {
		try {
			Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
			return 0;
		} catch (java.lang.reflect.InvocationTargetException e) {
			if (e.getCause() instanceof Ended)
				return ((Ended) e.getCause()).status;
			e.getCause().printStackTrace();
			return 1;
		} catch (ReflectiveOperationException e) {
			e.printStackTrace();
			return 127;
		}
	}

	public static void main(String[] args) throws IOException {
		PrintStream real = System.out;
		System.setOut(new PrintStream(SINK, true));
		System.setErr(new PrintStream(SINK, true));
		Exit.Procedure end = (status, message) -> {
			if (message != null)
				System.err.println(message);
			if (first == null)
				first = status;
			throw new Ended(status);
		};
		Exit.setExitProcedure(end);
		Exit.setHaltProcedure(end);
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			int status = run(line.split("\t", -1));
			System.out.flush();
			System.err.flush();
			byte[] out = taken();
			real.print(status + " " + out.length + "\n");
			real.write(out, 0, out.length);
			real.flush();
		}
	}
}
